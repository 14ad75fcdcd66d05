"""The supervisor restarts what ends, gives up what never comes up, and leaves no process behind. Real processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from flows.leftovers import note, sweep
from flows.supervise import Pace, Service, Supervisor

SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
PARENT = (
    sys.executable,
    "-c",
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "time.sleep(600)",
)
DEAF = (sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)")


QUICK = Pace(tick_s=0.02, first_pause_s=0.05)


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


class Told(list[str]):
    """The lines that a supervisor said, and the process ids in them."""

    def pids(self, name: str) -> list[int]:
        return [int(line.rsplit(" ", 1)[1]) for line in self if line.startswith(f"{name}: started, process")]


@contextmanager
def running(services: list[Service], folder: Path, pace: Pace = QUICK) -> Iterator[tuple[Supervisor, Told, list[int]]]:
    """A supervisor in a thread; its exit code lands in the list. Stopped at the end."""
    told, codes = Told(), list[int]()
    supervisor = Supervisor(services, folder, told.append, pace)
    thread = threading.Thread(target=lambda: codes.append(supervisor.run()))
    thread.start()
    try:
        yield supervisor, told, codes
    finally:
        supervisor.stop()
        thread.join(20)
        assert not thread.is_alive()


def gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_killed_service_comes_back(tmp_path: Path) -> None:
    with running([Service(name="sleeper", argv=SLEEPER)], tmp_path) as (_, told, _codes):
        wait_for(lambda: len(told.pids("sleeper")) == 1)
        os.kill(told.pids("sleeper")[0], signal.SIGKILL)
        wait_for(lambda: len(told.pids("sleeper")) == 2)
        assert any("signal SIGKILL" in line for line in told)
    assert all(gone(pid) for pid in told.pids("sleeper"))


def test_stopping_takes_the_children_of_a_service_too(tmp_path: Path) -> None:
    with running([Service(name="parent", argv=PARENT)], tmp_path) as (_, told, codes):
        wait_for(lambda: bool(told.pids("parent")))
        parent = psutil.Process(told.pids("parent")[0])
        wait_for(lambda: bool(parent.children()))
        family = [parent.pid, *(child.pid for child in parent.children(recursive=True))]
    assert len(family) == 2
    wait_for(lambda: all(gone(pid) for pid in family))
    assert codes == [0]


def test_a_service_that_heeds_no_signal_is_killed_after_the_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = replace(QUICK, grace_s=0.3)
    with running([Service(name="deaf", argv=DEAF)], tmp_path, pace) as (_, told, codes):
        wait_for(lambda: bool(told.pids("deaf")))
        time.sleep(0.3)
    assert gone(told.pids("deaf")[0])
    assert codes == [0]


def test_a_service_that_never_comes_up_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    broken = Service(
        name="broken", argv=(sys.executable, "-c", "raise SystemExit('no such table')"), ready=lambda: False
    )
    told = Told()
    assert Supervisor([broken, Service(name="sleeper", argv=SLEEPER)], tmp_path, told.append, QUICK).run() == 1
    assert len(told.pids("broken")) == QUICK.max_failed_starts
    assert any("Giving up" in line and "no such table" in line for line in told)
    assert gone(told.pids("sleeper")[0])


def test_a_command_that_does_not_exist_is_given_up_too(tmp_path: Path) -> None:
    told = Told()
    assert Supervisor([Service(name="typo", argv=("/no/such/command",))], tmp_path, told.append, QUICK).run() == 1
    assert any("could not be started" in line for line in told)


def test_pauses_between_starts_double(tmp_path: Path) -> None:
    quitter = Service(name="quitter", argv=(sys.executable, "-c", ""), ready=lambda: False)
    told = Told()
    Supervisor([quitter], tmp_path, told.append, QUICK).run()
    pauses = [float(line.split(" again in ")[1].split(" s.")[0]) for line in told if " again in " in line]
    assert pauses == [0.05, 0.1, 0.2, 0.4]


def test_a_service_waits_until_what_it_needs_is_ready(tmp_path: Path) -> None:
    gate = tmp_path / "open"
    server = Service(name="server", argv=SLEEPER, ready=gate.exists)
    with running([Service(name="client", argv=SLEEPER, after=("server",)), server], tmp_path) as (_, told, _codes):
        wait_for(lambda: bool(told.pids("server")))
        time.sleep(0.2)
        assert not told.pids("client")
        gate.touch()
        wait_for(lambda: bool(told.pids("client")))


def test_a_service_that_answers_no_more_is_started_again(tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    answers.touch()
    hung = Service(name="hung", argv=SLEEPER, ready=answers.exists, ready_within_s=0.2)
    with running([hung], tmp_path, replace(QUICK, ask_every_s=0.05)) as (_, told, _codes):
        wait_for(lambda: any("ready after" in line for line in told))
        answers.unlink()
        wait_for(lambda: len(told.pids("hung")) == 2)
        assert any("did not answer" in line for line in told)


def test_an_old_heartbeat_does_not_make_a_new_process_ready(tmp_path: Path) -> None:
    heartbeat = tmp_path / "alive"
    heartbeat.touch()
    with running([Service(name="silent", argv=SLEEPER, heartbeat=heartbeat)], tmp_path) as (_, told, _codes):
        wait_for(lambda: bool(told.pids("silent")))
        time.sleep(0.2)
        assert not any("ready" in line for line in told)
        heartbeat.touch()
        wait_for(lambda: any("ready" in line for line in told))


def test_what_a_killed_supervisor_left_is_ended_by_the_next(tmp_path: Path) -> None:
    left = subprocess.Popen(SLEEPER, start_new_session=True)
    note(tmp_path, "left", left.pid)
    assert sweep(tmp_path) == ["left"]
    assert left.wait(5) < 0
    assert sweep(tmp_path) == []


def test_a_process_that_took_over_an_old_id_is_left_alone(tmp_path: Path) -> None:
    other = subprocess.Popen(SLEEPER, start_new_session=True)
    try:
        note(tmp_path, "old", other.pid)
        listing = tmp_path / "processes.json"
        listing.write_text(listing.read_text().replace(str(psutil.Process(other.pid).create_time()), "1000.0"))
        assert sweep(tmp_path) == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_table_with_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nobody"):
        Supervisor([Service(name="a", argv=SLEEPER, after=("nobody",))], tmp_path, print)


def test_an_overlong_log_is_moved_aside(tmp_path: Path) -> None:
    (tmp_path / "talker.log").write_text("x" * 11)
    talker = Service(name="talker", argv=(sys.executable, "-c", "print('new')"), ready=lambda: False)
    Supervisor([talker], tmp_path, Told().append, replace(QUICK, log_bytes=10)).run()
    assert (tmp_path / "talker.log.1").exists()
    assert "xxx" not in (tmp_path / "talker.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_supervisor_and_all_it_started(number: signal.Signals, tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom flows.supervise import Service, Supervisor\n"
        "sleeper = Service(name='sleeper', argv=(sys.executable, '-c', 'import time; time.sleep(600)'))\n"
        "say = lambda line: print(line, flush=True)\n"
        "sys.exit(Supervisor([sleeper], Path(sys.argv[1]), say).run())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline().rsplit(" ", 1)[1])
    process.stdout.readline()
    process.send_signal(number)
    started = time.monotonic()
    assert process.wait(20) == 0
    assert time.monotonic() - started < 5
    assert process.stdout.read().endswith("stopped\n")
    process.stdout.close()
    assert gone(pid)
