"""Schedules: Prefect's own, the same for the page and for the commands; the page stays when Prefect is gone."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from starlette.testclient import TestClient

from dashboards.prefect import Prefect, PrefectGone, PrefectRefused
from dashboards.views.schedules_times import cron_times, zone_of
from db.repository import audit
from flows import schedules
from flows.deployments import SERVED, client, ensure
from flows.prefect_server import Api, prefect_api
from tests.dashboards import places
from tests.dashboards.browsing import looking, served
from tests.dashboards.places import START, Place

NIGHTLY = {"name": "nightly", "flow": "retrain", "cron": "0 3 * * *", "time_zone": "Asia/Tokyo", "why": "each night"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A real server, held by a thread of its own: an open browser keeps an event loop in this one."""
    context = prefect_api(tmp_path_factory.mktemp("prefect"))
    with ThreadPoolExecutor(1) as aside:
        server = aside.submit(context.__enter__).result()
        with client(server) as connection:
            for entrypoint in SERVED[:3]:
                ensure(connection, entrypoint)
        yield server
        aside.submit(context.__exit__, None, None, None).result()


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
    from prefect.server.schemas.schedules import CronSchedule

    for start in (datetime(2026, 3, 7, 12, 1, tzinfo=UTC), datetime(2026, 10, 31, 12, 1, tzinfo=UTC)):
        dates = CronSchedule(cron=cron, timezone=zone).get_dates(5, start=start)
        with ThreadPoolExecutor(1) as aside:
            theirs = aside.submit(asyncio.run, dates).result()
        ours = cron_times(cron, zone_of(zone), start, 5)
        assert [at.timestamp() for at in ours] == [at.timestamp() for at in theirs]


@pytest.mark.slow
@pytest.mark.browser
def test_what_is_typed_is_read_back_and_made(api: Api, chromium: Browser, tmp_path: Path) -> None:
    told = {"prefect_url": api.url, "prefect_auth": api.auth or ""}
    with served(tmp_path / "home", **told) as place, looking(chromium, place, "operator") as sight:
        sight.go("/schedules")
        sight.page.click("[data-open=add-schedule]")
        sight.page.fill("#add-name", "workdays")
        sight.page.fill("#add-cron", "30 2 * * 1-5")
        sight.page.get_by_text("At 02:30, Monday through Friday (UTC). Next:").wait_for()
        assert sight.page.locator("[data-said] li").count() == 5
        sight.page.fill("#add-schedule-why", "each workday")
        sight.page.get_by_role("button", name="Add it").click()
        sight.page.locator("#schedule-workdays").wait_for()
        assert sight.complaints == []
    schedules.remove(api, "workdays")


def test_a_time_that_the_clock_skips_is_told_as_the_end_of_the_gap() -> None:
    (at,) = cron_times("30 2 * * *", zone_of("America/New_York"), datetime(2026, 3, 8, 1, tzinfo=UTC), 1)
    assert f"{at:%Y-%m-%d %H:%M %Z}" == "2026-03-08 03:00 EDT"
