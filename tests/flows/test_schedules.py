"""Schedules are Prefect's own: added, listed with their next runs, paused, resumed, removed. A real server."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.cli import schedule as commands
from flows.deployments import SERVED, client, ensure, entrypoint_of, flow_name
from flows.prefect_server import Api, prefect_api
from flows.schedules import ScheduleError, add, home_of, parse_every, pause, present, present_of_all, remove, resume
from flows.usual_schedules import USUAL, Usual, make_usual
from tests.flows.terminals import widen

FLOW = "tests.flows.ticking.tick"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with prefect_api(tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "api" in request.fixturenames:
        found = request.getfixturevalue("api")
        for schedule in present(found, entrypoint=FLOW):
            remove(found, schedule.name, entrypoint=FLOW)


def test_a_cron_schedule_is_listed_with_its_next_runs_in_its_time_zone(api: Api) -> None:
    add(api, "nightly", cron="30 2 * * *", time_zone="Asia/Tokyo", parameters={"folder": "x"}, entrypoint=FLOW)
    (found,) = present(api, entrypoint=FLOW, num_next=2)
    assert (found.name, found.when, found.time_zone, found.active) == ("nightly", "cron 30 2 * * *", "Asia/Tokyo", True)
    assert found.parameters == {"folder": "x"}
    assert [(run.hour, run.minute) for run in found.next_runs] == [(2, 30), (2, 30)]
    assert found.next_runs[1] - found.next_runs[0] == timedelta(days=1)
    assert found.next_runs[0].utcoffset() == timedelta(hours=9)


def test_an_interval_counts_from_now(api: Api) -> None:
    before = datetime.now(UTC)
    made = add(api, "often", every=timedelta(minutes=30), entrypoint=FLOW)
    assert made.when == "every 0:30:00"
    assert timedelta(0) <= made.next_runs[0] - before <= timedelta(minutes=31)
    assert made.next_runs[1] - made.next_runs[0] == timedelta(minutes=30)


def test_a_paused_schedule_has_no_next_run_until_it_is_resumed(api: Api) -> None:
    add(api, "often", every=timedelta(hours=1), entrypoint=FLOW)
    for _ in range(2):
        assert not pause(api, "often", entrypoint=FLOW).active
    assert present(api, entrypoint=FLOW)[0].next_runs == ()
    assert resume(api, "often", entrypoint=FLOW).next_runs


def test_a_removed_schedule_is_gone_and_its_name_is_free(api: Api) -> None:
    add(api, "often", every=timedelta(hours=1), entrypoint=FLOW)
    remove(api, "often", entrypoint=FLOW)
    assert present(api, entrypoint=FLOW) == []
    add(api, "often", every=timedelta(hours=2), entrypoint=FLOW)


def test_a_name_that_is_taken_is_refused(api: Api) -> None:
    add(api, "often", every=timedelta(hours=1), entrypoint=FLOW)
    with pytest.raises(ScheduleError, match="already"):
        add(api, "often", cron="0 0 * * *", entrypoint=FLOW)
    assert len(present(api, entrypoint=FLOW)) == 1


def test_an_unknown_name_is_answered_with_the_known_ones(api: Api) -> None:
    add(api, "often", every=timedelta(hours=1), entrypoint=FLOW)
    with pytest.raises(ScheduleError, match="Present: often"):
        pause(api, "seldom", entrypoint=FLOW)


def test_registering_again_keeps_the_schedules(api: Api) -> None:
    add(api, "often", every=timedelta(hours=1), entrypoint=FLOW)
    with client(api) as connection:
        ensure(connection, FLOW)
    assert [schedule.name for schedule in present(api, entrypoint=FLOW)] == ["often"]


def test_the_flow_is_deployed_by_module_path_and_one_run_at_a_time(api: Api) -> None:
    with client(api) as connection:
        found = ensure(connection, FLOW)
    assert found.entrypoint == FLOW
    assert found.global_concurrency_limit.limit == 1
    assert found.concurrency_options.collision_strategy.value == "CANCEL_NEW"


@pytest.mark.parametrize(
    ("cron", "every", "zone", "word"),
    [
        ("0 3 * *", None, "UTC", "five fields"),
        ("99 3 * * *", None, "UTC", "no schedule"),
        ("0 3 * * *", None, "Mars/Olympus", "time zone"),
        (None, timedelta(0), "UTC", "longer than 0"),
        (None, None, "UTC", "either"),
        ("0 3 * * *", timedelta(hours=1), "UTC", "either"),
    ],
)
def test_a_schedule_that_means_nothing_is_refused_with_the_mend(
    cron: str | None, every: timedelta | None, zone: str, word: str
) -> None:
    nobody = Api(url="http://127.0.0.1:1/api")
    with pytest.raises(ScheduleError, match=word):
        add(nobody, "nightly", cron=cron, every=every, time_zone=zone, entrypoint=FLOW)


@pytest.mark.parametrize("name", ["", "Nightly", "a b", "-a", "a--b", "../a"])
def test_a_name_that_is_awkward_on_a_command_line_is_refused(name: str) -> None:
    with pytest.raises(ScheduleError, match="name"):
        add(Api(url="http://127.0.0.1:1/api"), name, cron="0 3 * * *")


@pytest.mark.parametrize("text", ["", "0m", "5", "m", "-5m", "1.5h", "5 years"])
def test_an_interval_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ScheduleError, match="30m"):
        parse_every(text)


def test_a_usual_schedule_is_made_once_and_does_not_come_back(api: Api, tmp_path: Path) -> None:
    wanted, note = (Usual(name="daily", cron="20 0 * * *", entrypoint=FLOW),), tmp_path / "usual"
    assert make_usual(api, note, [], wanted=wanted) == ()
    assert make_usual(api, note, [FLOW], wanted=wanted) == ("daily",)
    pause(api, "daily", entrypoint=FLOW)
    assert make_usual(api, note, [FLOW], wanted=wanted) == ()
    assert not present(api, entrypoint=FLOW)[0].active, "paused stays paused"
    remove(api, "daily", entrypoint=FLOW)
    assert make_usual(api, note, [FLOW], wanted=wanted) == ()
    assert present(api, entrypoint=FLOW) == [], "removed stays removed"


def test_a_kill_between_the_schedule_and_its_note_makes_no_second_one(api: Api, tmp_path: Path) -> None:
    wanted, note = (Usual(name="daily", cron="20 0 * * *", entrypoint=FLOW),), tmp_path / "usual"
    make_usual(api, note, [FLOW], wanted=wanted)
    note.unlink()
    assert make_usual(api, note, [FLOW], wanted=wanted) == ()
    assert note.read_text() == "daily\n"
    assert len(present(api, entrypoint=FLOW)) == 1


def test_every_flow_can_be_started_by_the_clock_and_is_found_by_its_schedules_name(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def same(home: Path) -> Iterator[Api]:
        yield api

    widen(monkeypatch)
    monkeypatch.setattr("flows.prefect_server.prefect_api", same)
    names = [flow_name(entrypoint) for entrypoint in SERVED]
    assert names == ["retrain", "fit-selector", "report", "watch", "baseline"]
    for name in names:
        commands.add(f"my-{name}", every="6h", flow=name)
        assert home_of(api, f"my-{name}") == entrypoint_of(name)
    commands.add("nightly", cron="0 3 * * *")
    with pytest.raises(ScheduleError, match="already"):
        commands.add("nightly", every="1h", flow="report")
    with pytest.raises(ValueError, match="There are retrain, fit-selector, report, watch, baseline"):
        commands.add("other", every="1h", flow="filter")
    commands.pause("my-report")
    commands.resume("my-report")
    commands.pause("my-watch")
    known = {schedule.name: schedule for schedule in present_of_all(api)}
    assert {name: schedule.flow for name, schedule in known.items()} == {
        **{f"my-{name}": name for name in names},
        "nightly": "retrain",
    }
    assert [name for name, schedule in known.items() if not schedule.active] == ["my-watch"]
    capsys.readouterr()
    commands.list_()
    assert "fit-selector" in capsys.readouterr().out
    for name in known:
        commands.remove(name)
    assert present_of_all(api) == []
    with pytest.raises(ScheduleError, match="none yet"):
        commands.pause("my-report")


def test_the_usual_schedules_are_of_flows_that_are_served() -> None:
    assert {each.entrypoint for each in USUAL} <= set(SERVED)


def test_a_file_path_is_no_entry_point() -> None:
    with pytest.raises(ValueError, match="module path"):
        flow_name("flows/retrain.py:retrain")


def test_a_server_of_the_users_own_that_does_not_answer_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from flows.errors import ServerError

    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with pytest.raises(ServerError, match="PREFECT_API_URL"), prefect_api(tmp_path):
        pass
