"""The live service and the pulse as processes of their own on one home, which can be killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.monitor_home import Watched, service_command
from benchmarks.monitor_models import FAULTS
from benchmarks.serve_process import ROOT, free_port, one_thread

START_S, END_S = 90.0, 15.0
FIRST = -19
"""Priority of service and pulse, where it may be given."""


@dataclass
class Process:
    """One process of the product."""

    command: Sequence[str]
    environ: Mapping[str, str]
    log: Path
    core: int | None = None
    """The only core that it may run on."""
    _running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; its output goes to the log."""
        core = "" if self.core is None else str(self.core)
        command = [sys.executable, "-c", PREFERRED, core, str(FIRST), *self.command]
        with self.log.open("ab") as output:
            self._running = subprocess.Popen(
                command,
                env=one_thread(self.environ),
                cwd=ROOT,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Any signal."""
        if self._running is not None:
            self._running.send_signal(number)

    def end(self) -> None:
        """SIGTERM, and SIGKILL after a while."""
        self._end(signal.SIGTERM)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._running is not None and self._running.poll() is None

    def cpu_s(self) -> float:
        """CPU seconds of the process that runs, its children included."""
        if self._running is None:
            return 0.0
        times = psutil.Process(self._running.pid).cpu_times()
        return float(times.user + times.system + times.children_user + times.children_system)

    def _end(self, number: signal.Signals) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        if running.poll() is None:
            running.send_signal(number)
        try:
            running.wait(END_S)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


PREFERRED = """
import os, sys
if sys.argv[1]:
    os.sched_setaffinity(0, {int(sys.argv[1])})
try:
    os.setpriority(os.PRIO_PROCESS, 0, int(sys.argv[2]))
    open("/proc/self/autogroup", "w").write(sys.argv[2])
except OSError:
    pass
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Runs a command, on one core if it is named and before other work where that is allowed: what is measured is to be the
product's own doing."""


@dataclass
class Live:
    """A home with its service and its pulse. Use it as a context."""

    watched: Watched
    name: str
    more: Mapping[str, str] = field(default_factory=dict)
    core: int | None = None
    pulses: bool = True
    """Whether the pulse runs too."""

    def __post_init__(self) -> None:
        self.home = self.watched.home(self.name)
        self.port = free_port()
        self.faults = self.watched.folder / f"{self.name}-faults"
        self.faults.mkdir()
        environ = self.watched.environ(self.home, str(self.port), self.more)
        self.service = Process(
            service_command(),
            {**environ, FAULTS: str(self.faults)},
            self.watched.folder / f"{self.name}-service.log",
            self.core,
        )
        pulse = [sys.executable, "-m", "flows.pulse"]
        self.pulse = Process(pulse, environ, self.watched.folder / f"{self.name}-pulse.log")

    def __enter__(self) -> Live:
        try:
            self.start_service()
            if self.pulses:
                self.pulse.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.pulse.end()
        self.service.end()

    def start_service(self) -> None:
        """Start the service and wait until it is ready."""
        self.service.start()
        wait_until(self.is_ready, START_S, f"the service of {self.name} is ready; see {self.service.log}")

    def is_ready(self) -> bool:
        """Whether it says that it is."""
        if not self.service.is_running:
            raise RuntimeError(f"The service of {self.name} ended. Look at {self.service.log}.")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=3) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait until something holds; returns the seconds that it took. Raises `RuntimeError` if it does not in time."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise RuntimeError(f"Waited {seconds:g} s in vain until {what}.")
        time.sleep(0.1)
    return time.monotonic() - began


def prefer(priority: int) -> None:
    """The session of this process before others' work, where it may be given."""
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(priority))


def usual_core() -> int:
    """The first core that this process may run on."""
    return min(os.sched_getaffinity(0))
