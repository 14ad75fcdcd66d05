"""The schedules' page without a Prefect, and what is typed there: read back, or refused with the mend."""

import json
from pathlib import Path

import pytest

from dashboards.prefect import Prefect, found
from dashboards.views.schedules_times import reading, told_to_prefect
from tests.dashboards import places
from tests.dashboards.places import START, Place

NIGHTLY = {"name": "nightly", "flow": "retrain", "cron": "0 3 * * *", "time_zone": "Asia/Tokyo", "why": "each night"}


def test_the_page_says_so_when_no_prefect_is_there(place: Place) -> None:
    with place.as_("operator") as browser:
        page = browser.get("/schedules")
        assert page.status_code == 200
        assert "No Prefect runs here: <code>omniloop up</code> starts one" in page.text
        assert 'href="/rounds"' in page.text
        refused = browser.post("/schedules/add", data=NIGHTLY)
    assert refused.status_code == 503
    assert "omniloop up" in refused.text


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '{"url": "http://127.0.0.1:1/api", "auth": null}', '{"url": "x", "auth": ""}']
)
def test_an_announcement_that_leads_nowhere_is_no_prefect(place: Place, content: str) -> None:
    (place.wiring.home / "prefect").mkdir()
    (place.wiring.home / "prefect" / "server.json").write_text(content)
    with place.as_("viewer") as browser:
        told = browser.get("/schedules.json").json()
    assert "omniloop up" in told["problem"]
    assert told["schedules"] == []


def test_the_users_own_prefect_comes_first(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "server.json").write_text(json.dumps({"url": "http://a/api", "auth": "u:p"}))
    own = places.wiring(tmp_path, prefect_url="http://b/api", prefect_auth="k:s")
    assert found(own) == Prefect(url="http://b/api", auth="k:s")
    assert found(places.wiring(tmp_path)) == Prefect(url="http://a/api", auth="u:p")


def test_what_is_typed_is_read_back_with_the_next_five_times(place: Place) -> None:
    with place.as_("viewer") as browser:
        told = browser.get(
            "/schedules/preview.json", params={"cron": "30 2 * * 1-5", "time_zone": "Europe/Paris"}
        ).json()
        every = browser.get("/schedules/preview.json", params={"every": "90m"}).json()
    assert told["words"] == "At 02:30, Monday through Friday"
    assert told["next"][0] == "Mon 2026-03-02 02:30 CET"
    assert len(told["next"]) == 5
    assert every["words"] == "Every 90 minutes"
    assert every["next"][0] == "Sun 2026-03-01 13:30 UTC"


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"cron": "99 3 * * *"}, "no cron line"),
        ({"cron": "0 3 * *"}, "five fields"),
        ({"cron": "@daily"}, "five fields"),
        ({"cron": "0 0 31 2 *"}, "no cron line"),
        ({"cron": "<script>"}, "five fields"),
        ({"every": "5 years"}, "Write 6h"),
        ({"every": "0h"}, "above 0"),
        ({"cron": "0 3 * * *", "every": "6h"}, "Give one of them"),
        ({}, "Give one of them"),
        ({"cron": "0 3 * * *", "time_zone": "Mars/Olympus"}, "no time zone"),
        ({"cron": "0 3 * * *", "time_zone": "../../etc/passwd"}, "no time zone"),
    ],
)
def test_what_means_nothing_is_told_with_the_mend(place: Place, asked: dict[str, str], word: str) -> None:
    with place.as_("operator") as browser:
        assert word in browser.get("/schedules/preview.json", params=asked).json()["problem"]
        answer = browser.post("/schedules/add", data={"name": "n", "flow": "retrain", "why": "w"} | asked)
    assert answer.status_code == 422
    assert "<script>" not in answer.text


@pytest.mark.parametrize("name", ["", "Nightly", "a b", "-a", "a--b", "../a", "<b>"])
def test_an_awkward_name_is_refused(place: Place, name: str) -> None:
    with place.as_("operator") as browser:
        assert browser.post("/schedules/add", data=NIGHTLY | {"name": name}).status_code == 422


@pytest.mark.parametrize("path", ["add", "switch", "remove", "run"])
def test_who_only_looks_or_labels_changes_no_schedule(place: Place, path: str) -> None:
    for role in ("viewer", "labeller"):
        with place.as_(role) as browser:
            assert browser.post(f"/schedules/{path}", data=NIGHTLY | {"seen": "x"}).status_code == 403


def test_a_schedule_that_others_made_in_a_way_of_their_own_is_shown_as_it_is() -> None:
    assert reading({"rrule": "FREQ=DAILY", "timezone": "UTC"}, START).words == "rrule FREQ=DAILY"
    assert reading({"cron": "@daily", "timezone": "UTC"}, START).words == "cron @daily"
    assert reading({"interval": 3600.0, "anchor_date": "never"}, START).next_runs == []
    assert told_to_prefect("", "6h", "UTC", START)["interval"] == 21_600
