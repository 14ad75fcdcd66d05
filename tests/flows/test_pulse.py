"""The pulse: its jobs in a real home, the process with its signals, and a round that nobody called."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from db.repository import alerts, outbox, probation, rounds, samples, triggers
from flows.deployments import client, ensure
from flows.prefect_server import announced
from flows.pulse import BEAT_S, Pulse
from flows.reporter import SILENT
from flows.round_runs import DONE, FAILED, PrefectRuns
from flows.schedules import present_of_all
from flows.settings import Settings
from flows.steps.labelling import add_labels, waiting_for_labels
from flows.workspace import Workspace, open_workspace
from tests.flows import homes

UP = (
    "import sys\n"
    "from flows.settings import Settings\n"
    "from flows.telemetry import silence\n"
    "from flows.up import up\n"
    "silence()\n"
    "sys.exit(up(Settings.load(), lambda line: print(line, flush=True)))\n"
)


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def broken() -> None:
    raise OSError("no space left on device")


def open_alerts(ws: Workspace) -> list[str]:
    with ws.database.read() as session:
        return [alert.summary for alert in alerts.list_alerts(session, is_open=True)]


# Jobs


def test_a_job_that_fails_is_told_of_and_the_others_go_on(ws: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    pulse, done = Pulse(ws), list[int]()
    for _ in range(2):
        pulse.guarded("deliver", broken)
        pulse.guarded("triggers", lambda: done.append(1))
    assert done == [1, 1]
    assert open_alerts(ws) == ["The pulse's job 'deliver' fails: OSError: no space left on device"]
    assert caplog.text.count("Traceback") == 1
    pulse.guarded("deliver", lambda: None)
    assert open_alerts(ws) == []


def test_an_alert_of_an_earlier_process_ends_with_the_first_success(ws: Workspace) -> None:
    Pulse(ws).guarded("deliver", broken)
    Pulse(ws).guarded("deliver", lambda: None)
    assert open_alerts(ws) == []


def test_a_database_that_fails_does_not_end_the_pulse(ws: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    ws.database.close()
    (ws.home / "omniloop.db").unlink()
    pulse = Pulse(ws)
    for name, (_, job) in pulse.jobs.items():
        pulse.guarded(name, job)
    assert "No alert could be left" in caplog.text


def test_what_waits_in_the_outbox_is_delivered_once(ws: Workspace, right: Mapping[str, str]) -> None:
    pulse = Pulse(ws)
    assert not pulse.deliver()
    homes.run_whole_round(ws, right)
    assert pulse.deliver()
    with ws.database.read() as session:
        assert outbox.waiting(session) == []
    assert ws.registry.aliases()["champion"] == "2"
    assert not pulse.deliver()


def test_without_messages_it_reconciles_now_and_then(ws: Workspace) -> None:
    seconds = [0.0]
    pulse = Pulse(ws, lambda: seconds[0])
    seconds[0] = 59
    assert not pulse.deliver()
    seconds[0] = 60
    assert pulse.deliver()
    assert not pulse.deliver()


def test_new_feedback_on_a_version_on_probation_is_scored_once(ws: Workspace, right: Mapping[str, str]) -> None:
    pulse = Pulse(ws)
    assert not pulse.watch()
    homes.run_whole_round(ws, right)
    assert homes.states(ws)[2] == "probation"
    homes.give_live_feedback(ws, "es", num=30)
    assert pulse.watch()
    assert not pulse.watch()
    homes.give_live_feedback(ws, "es", num=5, seed=2)
    assert pulse.watch()


def test_a_job_that_takes_too_long_stops_the_heartbeat(ws: Workspace) -> None:
    seconds = [0.0]
    pulse = Pulse(ws, lambda: seconds[0])
    seen: list[bool] = []

    def slow() -> None:
        seen.append(pulse.is_stuck)
        seconds[0] += ws.settings.pulse.job_limit_s + 1
        seen.append(pulse.is_stuck)

    pulse.guarded("deliver", slow)
    assert seen == [False, True]
    assert not pulse.is_stuck


def test_after_the_stop_no_job_begins(ws: Workspace) -> None:
    pulse, done = Pulse(ws), list[int]()
    pulse.stop()
    pulse.guarded("deliver", lambda: done.append(1))
    assert done == []


def test_the_scheduler_runs_every_job_and_beats(ws: Workspace, tmp_path: Path) -> None:
    often = (
        "deliver_s",
        "probation_s",
        "triggers_s",
        "rounds_s",
        "rules_s",
        "probe_s",
        "forget_s",
        "selectors_s",
        "tidy_s",
    )
    quick = replace(ws.settings.pulse, **dict.fromkeys(often, 0.1))
    pulse, done = Pulse(ws.with_(settings=ws.settings.model_copy(update={"pulse": quick}))), set[str]()
    guarded = pulse.guarded

    def noted(name: str, job: Callable[[], object]) -> None:
        guarded(name, job)
        done.add(name)

    pulse.guarded = noted  # type: ignore[method-assign]
    heartbeat = tmp_path / "alive"
    thread = threading.Thread(target=pulse.run, args=(heartbeat,))
    thread.start()
    try:
        wait_for(lambda: done == pulse.jobs.keys() and heartbeat.exists(), 20)
    finally:
        pulse.stop()
        thread.join(10)
    assert not thread.is_alive()
    assert pulse.idle_within(5)


# The process


def start(home: Path, heartbeat: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "flows.pulse", "--heartbeat", str(heartbeat)]
    with log.open("wb") as output:
        return subprocess.Popen(command, env=homes.small_environment(home), stdout=output, stderr=output)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_soon_and_a_second_one_is_refused(
    home: Path, tmp_path: Path, number: signal.Signals
) -> None:
    first = start(home, tmp_path / "first.alive", tmp_path / "first.log")
    try:
        wait_for((tmp_path / "first.alive").exists, 60)
        second = start(home, tmp_path / "second.alive", tmp_path / "second.log")
        assert second.wait(60) == 1
        assert str(first.pid) in (tmp_path / "second.log").read_text()
        first.send_signal(number)
        started = time.monotonic()
        assert first.wait(15) == 0
        assert time.monotonic() - started < BEAT_S + 6
    finally:
        first.kill()


@pytest.mark.slow
def test_a_setting_that_means_nothing_is_told_in_one_line(home: Path) -> None:
    environ = {**homes.small_environment(home), "OMNI_PULSE__TRIGGERS_S": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "flows.pulse"], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "OMNI_PULSE__TRIGGERS_S" in done.stderr
    assert "Traceback" not in done.stderr


# With everything up


class Kept:
    """``up`` on a home with v1 in service, a pulse that looks often, and 20 new labels as the threshold."""

    def __init__(self, home: Path) -> None:
        quick = {"TRIGGERS_S": "1", "ROUNDS_S": "1", "DELIVER_S": "1", "PROBATION_S": "1"}
        environ = {
            **homes.small_environment(home),
            **{f"OMNI_PULSE__{name}": value for name, value in quick.items()},
            "OMNI_LOOP__NEW_LABELS_TRIGGER": "20",
        }
        environ = {name: value for name, value in environ.items() if not name.startswith("PREFECT_")}
        self.log = home.parent / "up.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", UP], env=environ, stdout=output, stderr=output
            )
        self.ws = open_workspace(Settings.load(home=home), SILENT)

    def told(self) -> str:
        logs = [self.log, *sorted((self.ws.home / "up").glob("*.log"))]
        return "\n".join(f"== {log.name}\n{log.read_text()}" for log in logs)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[Kept]:
    home = tmp_path_factory.mktemp("pulse") / "home"
    with pytest.MonkeyPatch.context() as patch:
        homes.set_small(patch, home)
        kept = Kept(homes.copy(template, home))
        try:
            yield kept
        finally:
            kept.process.terminate()
            kept.process.wait(30)
            kept.ws.database.close()


def asked(ws: Workspace) -> list[str]:
    """Samples that the open round waits for labels of."""
    with ws.database.read() as session:
        round_ = rounds.resume_target(session)
    return [] if round_ is None else waiting_for_labels(ws, round_)


@pytest.mark.slow
def test_labels_make_a_round_run_to_its_end_without_anybody_calling_it(kept: Kept, right: Mapping[str, str]) -> None:
    with kept.ws.database.read() as session:
        page = samples.pool(session, limit=25)
    add_labels(kept.ws, [(sample.id, right[sample.id]) for sample in page], origin="human:ann")
    try:
        wait_for(lambda: asked(kept.ws), 150)
        add_labels(kept.ws, [(id_, right[id_]) for id_ in asked(kept.ws)], origin="human:ann")
        wait_for(lambda: homes.states(kept.ws).get(2) == "probation", 150)
    except AssertionError:
        pytest.fail(kept.told())
    api = announced(kept.ws.home)
    assert api is not None
    with client(api) as connection:
        runs = connection.read_flow_runs()
    assert sorted(run.parameters["trigger"] for run in runs if run.parameters) == ["new_labels", "resume"]
    assert [schedule.name for schedule in present_of_all(api)] == ["daily-report"], "what a home begins with"
    with kept.ws.database.read() as session:
        assert [request.kind for request in triggers.list_triggers(session)] == ["new_labels"]
        assert triggers.pending(session) == []
    assert open_alerts(kept.ws) == []


@pytest.mark.slow
def test_feedback_on_what_it_promoted_is_scored_without_anybody_calling(kept: Kept) -> None:
    ids = homes.give_live_feedback(kept.ws, "es", num=20)

    def num_pairs() -> int:
        with kept.ws.database.read() as session:
            return probation.count_pairs(session, 2)[0]

    wait_for(lambda: num_pairs() == len(ids), 60)


@pytest.mark.slow
def test_a_killed_pulse_comes_back(kept: Kept) -> None:
    def pids() -> list[int]:
        lines = [line for line in kept.log.read_text().splitlines() if line.startswith("pulse: started, process")]
        return [int(line.rsplit(" ", 1)[1]) for line in lines]

    num_ready = kept.log.read_text().count("pulse: ready")
    os.kill(pids()[-1], signal.SIGKILL)
    wait_for(lambda: kept.log.read_text().count("pulse: ready") > num_ready, 60)
    assert len(set(pids())) == 2


@pytest.mark.slow
def test_runs_of_a_real_prefect_are_seen_until_they_end(kept: Kept) -> None:
    from prefect.client.schemas.responses import OrchestrationResult, SetStateStatus
    from prefect.states import Completed, Pending, Running

    flow = "tests.flows.ticking.tick"
    api = announced(kept.ws.home)
    assert api is not None
    with client(api) as connection:
        ensure(connection, flow)
        runs = PrefectRuns(connection, flow)
        assert runs.going() == []
        first = runs.start("drift")
        assert [(run.id, run.has_begun) for run in runs.going()] == [(first, False)]
        connection.set_flow_run_state(first, Pending())
        connection.set_flow_run_state(first, Running())
        assert [(run.id, run.has_begun) for run in runs.going()] == [(first, True)]
        runs.give_up(first)
        assert (runs.going(), runs.outcome(first)) == ([], FAILED)
        second = runs.start("drift")
        answer: OrchestrationResult[Any] = connection.set_flow_run_state(second, Pending())
        assert answer.status == SetStateStatus.ACCEPT
        connection.set_flow_run_state(second, Running())
        connection.set_flow_run_state(second, Completed())
        assert (runs.going(), runs.outcome(second)) == ([], DONE)
