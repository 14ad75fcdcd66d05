"""Schedules: Prefect's own, the same for the page and for the commands; the page stays when Prefect is gone."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from dashboards.prefect import Prefect, PrefectGone, PrefectRefused, found
from dashboards.views.schedules_times import cron_times, reading, told_to_prefect, zone_of
from db.repository import audit
from flows import schedules
from flows.deployments import SERVED, client, ensure
from flows.prefect_server import Api, prefect_api
from tests.dashboards import places
from tests.dashboards.places import START, Place

NIGHTLY = {"name": "nightly", "flow": "retrain", "cron": "0 3 * * *", "time_zone": "Asia/Tokyo", "why": "each night"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with prefect_api(tmp_path_factory.mktemp("prefect")) as server:
        with client(server) as connection:
            for entrypoint in SERVED[:3]:
                ensure(connection, entrypoint)
        yield server


@pytest.fixture
def with_prefect(api: Api, tmp_path: Path) -> Iterator[Place]:
    place = places.made(tmp_path / "home", prefect_url=api.url, prefect_auth=api.auth or "")
    place.clock.now = datetime.now(UTC)
    yield place
    for known in schedules.present_of_all(api, entrypoints=SERVED[:3]):
        schedules.remove(api, known.name, entrypoint=schedules.home_of(api, known.name))
    place.database.close()


def known(browser: TestClient) -> dict[str, dict[str, object]]:
    return {each["name"]: each for each in browser.get("/schedules.json").json()["schedules"]}


@pytest.mark.slow
def test_the_page_and_the_commands_see_the_same_schedules(with_prefect: Place, api: Api) -> None:
    schedules.add(api, "by-command", cron="30 2 * * 1-5", time_zone="Europe/Paris", entrypoint=SERVED[2])
    with with_prefect.as_("operator") as browser:
        (seen,) = known(browser).values()
        theirs = schedules.present(api, entrypoint=SERVED[2], num_next=5)[0]
        assert [datetime.fromisoformat(str(at)) for at in seen["next_runs"]] == list(theirs.next_runs)  # type: ignore[attr-defined]
        assert (seen["flow"], seen["words"]) == ("report", "At 02:30, Monday through Friday")
        assert browser.post("/schedules/add", data=NIGHTLY).status_code == 303
        assert browser.post("/schedules/add", data=NIGHTLY).status_code == 422, "the name is taken"
        often = NIGHTLY | {"name": "often", "cron": "", "every": "6h", "flow": "fit-selector"}
        assert browser.post("/schedules/add", data=often).status_code == 303
        text = browser.get("/schedules").text
    assert "At 03:00, every day" in text
    assert "Every 6 hours" in text
    mine = {each.name: each for each in schedules.present_of_all(api, entrypoints=SERVED[:3])}
    assert {name: each.flow for name, each in mine.items()} == {
        "by-command": "report",
        "nightly": "retrain",
        "often": "fit-selector",
    }
    assert (mine["nightly"].when, mine["nightly"].time_zone) == ("cron 0 3 * * *", "Asia/Tokyo")
    assert mine["often"].when == "every 6:00:00"


@pytest.mark.slow
def test_a_schedule_is_paused_resumed_run_and_removed_by_clicks(with_prefect: Place, api: Api) -> None:
    schedules.add(api, "nightly", cron="0 3 * * *", entrypoint=SERVED[0])
    with with_prefect.as_("operator") as browser:
        before = known(browser)["nightly"]
        one = {"name": "nightly", "why": "holidays", "seen": str(before["seen"])}
        assert browser.post("/schedules/switch", data=one | {"to": "paused"}).status_code == 303
        assert not schedules.present(api)[0].active
        assert known(browser)["nightly"]["next_runs"] == []
        stale = browser.post("/schedules/remove", data=one)
        assert stale.status_code == 409
        assert "out of date" in stale.text
        one["seen"] = str(known(browser)["nightly"]["seen"])
        assert browser.post("/schedules/switch", data=one | {"to": "active"}).status_code == 303
        one["seen"] = str(before["seen"])
        answer = browser.post("/schedules/run", data=one, headers={"Accept": "application/json"})
        with client(api) as connection:
            (run,) = [run for run in connection.read_flow_runs() if "dashboard" in run.tags]
        assert run.name in answer.json()["message"]
        assert run.parameters == {"trigger": "manual", "who": "operator"}
        assert browser.post("/schedules/remove", data=one).status_code == 303
        assert schedules.present(api) == []
        assert browser.post("/schedules/remove", data=one).status_code == 422, "it is gone"
    with with_prefect.database.read() as session:
        lines = audit.history(session, subject="schedule", subject_id="nightly")
    assert [(line.who, line.action, line.why) for line in lines] == [
        ("operator", action, "holidays") for action in ("pause", "resume", "run", "remove")
    ]


@pytest.mark.slow
def test_runs_are_shown_with_their_state_and_their_page(with_prefect: Place, api: Api) -> None:
    from prefect.states import Failed

    prefect = Prefect(url=api.url, auth=api.auth or "")
    prefect.start(prefect.deployments()["report"], {})
    with client(api) as connection:
        run = max(connection.read_flow_runs(), key=lambda run: run.created or START)
        connection.set_flow_run_state(run.id, Failed(message="no"), force=True)
    with with_prefect.as_("viewer") as browser:
        (shown,) = [each for each in browser.get("/schedules.json").json()["runs"] if each["id"] == str(run.id)]
        assert (shown["flow"], shown["state"]) == ("report", "failed")
        assert f'href="{api.pages}/runs/flow-run/{run.id}"' in browser.get("/schedules").text
    with pytest.raises(PrefectRefused, match="status 404"):
        prefect.start("00000000-0000-0000-0000-000000000000", {})
    with pytest.raises(PrefectGone, match="refuses the key"):
        Prefect(url=api.url, auth="omniloop:wrong").deployments()


@pytest.mark.slow
@pytest.mark.parametrize(
    "cron", ["*/7 * * * *", "30 4 * * *", "0 0 1 * 1", "15 3 29 2 *", "5 4 * * sun", "0 22 * 1-3 1-5"]
)
@pytest.mark.parametrize("zone", ["Europe/Paris", "America/New_York"])
def test_the_next_times_are_those_at_which_prefect_fires(cron: str, zone: str) -> None:
    import asyncio

    from prefect.server.schemas.schedules import CronSchedule

    for start in (datetime(2026, 3, 7, 12, 1, tzinfo=UTC), datetime(2026, 10, 31, 12, 1, tzinfo=UTC)):
        theirs = asyncio.run(CronSchedule(cron=cron, timezone=zone).get_dates(5, start=start))
        ours = cron_times(cron, zone_of(zone), start, 5)
        assert [at.timestamp() for at in ours] == [at.timestamp() for at in theirs]


def test_a_time_that_the_clock_skips_is_told_as_the_end_of_the_gap() -> None:
    (at,) = cron_times("30 2 * * *", zone_of("America/New_York"), datetime(2026, 3, 8, 1, tzinfo=UTC), 1)
    assert f"{at:%Y-%m-%d %H:%M %Z}" == "2026-03-08 03:00 EDT"


# -- without Prefect --------------------------------------------------------------------------------------------------


def test_the_page_says_so_when_no_prefect_is_there(place: Place) -> None:
    with place.as_("operator") as browser:
        page = browser.get("/schedules")
        assert page.status_code == 200
        assert "No Prefect runs here: `omniloop up` starts one" in page.text
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
