"""``omniloop up``: keeps a table of services running in the foreground, and leaves nothing behind when it ends.

One thread, one loop: start what is due, look at what runs, say what changed. A service that ends is started again after
a pause that doubles each time; one that never came up is given up, because trying for ever would hide the reason.
Each service has a process group of its own, so that stopping it stops what it started too.
"""

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from flows.leftovers import end_group, forget, note
from flows.prefect_server import last_words

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How patient a supervisor is."""

    tick_s: float = 0.2
    """Time between two looks at everything."""
    first_pause_s: float = 1.0
    """Before a service that ended is started again; doubles each time."""
    longest_pause_s: float = 60.0
    steady_s: float = 60.0
    """A service that ran this long starts with the first pause again."""
    ask_every_s: float = 5.0
    """How often a ready service is asked whether it still is."""
    beat_s: float = 20.0
    """A heartbeat older than this has stopped."""
    max_failed_starts: int = 5
    """A service that ended this often without ever being ready is given up."""
    grace_s: float = 8.0
    """Time between the polite signal and SIGKILL at the end."""
    log_bytes: int = 10_000_000
    """A service's log is moved aside when it is longer at a start."""


def always() -> bool:
    """Ready as soon as it runs."""
    return True


@dataclass(frozen=True, kw_only=True)
class Service:
    """One row of the table."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """On top of the supervisor's own environment."""
    ready: Callable[[], bool] = always
    """Asked until it says yes, and every few seconds from then on; quick, and never raises."""
    heartbeat: Path | None = None
    """A file that the service touches every few seconds: without it, or when it is old, the service is not ready."""
    ready_within_s: float = 180.0
    """A service that is not ready by then, or not ready any more for so long, is started again."""
    after: tuple[str, ...] = ()
    """Services that must be ready before this one starts."""
    address: str = ""
    """Where a person finds it; told with "ready"."""


@dataclass
class _Running:
    """What the supervisor knows of one service."""

    service: Service
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    ready: bool = False
    was_ready: bool = False
    seen_ready: float = 0.0
    asked: float = 0.0
    not_before: float = 0.0
    num_pauses: int = 0
    failed_starts: int = 0


class Supervisor:
    """Runs ``services`` until a signal comes or one of them is given up; ``folder`` takes logs and the process list."""

    def __init__(
        self, services: Sequence[Service], folder: Path, say: Callable[[str], None], pace: Pace | None = None
    ) -> None:
        names = [service.name for service in services]
        unknown = {name for service in services for name in service.after} - set(names)
        if len(set(names)) < len(names) or unknown:
            raise ValueError(
                f"Services need different names and known ones in `after`, got {names} and {sorted(unknown)}."
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._say = say
        self._pace = pace or Pace()
        self._all = [_Running(service, folder / f"{service.name}.log") for service in services]
        self._stop = threading.Event()
        self._signals = 0
        self._gave_up = False

    def run(self) -> int:
        """Keep everything running. Returns 0 after a signal, 1 when a service was given up."""
        with self._listening():
            try:
                while not self._stop.is_set() and not self._gave_up:
                    for each in self._all:
                        self._look_at(each, time.monotonic())
                    self._stop.wait(self._pace.tick_s)
            finally:
                self._end_all()
        return 1 if self._gave_up else 0

    def stop(self) -> None:
        """End soon, as a signal would make it."""
        self._signals += 1
        self._stop.set()

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Take SIGTERM and SIGINT for a wish to stop, while the block runs in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, lambda *_: self.stop()) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _look_at(self, each: _Running, now: float) -> None:
        """Bring one service a step further."""
        if each.process is None:
            if now >= each.not_before and self._are_ready(each.service.after):
                self._start(each, now)
        elif (code := each.process.poll()) is not None:
            self._ended(each, now, f"ended with {_in_words(code)}")
        elif now - each.asked >= (self._pace.ask_every_s if each.ready else self._pace.tick_s):
            self._ask(each, now)

    def _are_ready(self, names: Sequence[str]) -> bool:
        return all(each.ready for each in self._all if each.service.name in names)

    def _start(self, each: _Running, now: float) -> None:
        if each.service.heartbeat:
            each.service.heartbeat.unlink(missing_ok=True)
        each.started = each.asked = each.seen_ready = now
        try:
            each.process = _spawned(each.service, each.log, self._pace.log_bytes)
        except OSError as error:
            self._ended(each, now, f"could not be started ({error})")
            return
        note(self._folder, each.service.name, each.process.pid)
        self._say(f"{each.service.name}: started, process {each.process.pid}")

    def _ask(self, each: _Running, now: float) -> None:
        each.asked = now
        if _beats(each.service.heartbeat, self._pace.beat_s) and each.service.ready():
            each.seen_ready = now
            if now - each.started >= self._pace.steady_s:
                each.num_pauses = 0
            if not each.ready:
                each.ready = each.was_ready = True
                at = f" at {each.service.address}" if each.service.address else ""
                self._say(f"{each.service.name}: ready{at} after {now - each.started:.1f} s")
        elif now - each.seen_ready > each.service.ready_within_s:
            assert each.process is not None
            end_group(each.process.pid, self._pace.grace_s)
            each.process.wait()
            self._ended(each, now, f"did not answer for {now - each.seen_ready:.0f} s and was ended")

    def _ended(self, each: _Running, now: float, how: str) -> None:
        if each.process is not None:
            end_group(each.process.pid, 0)
            forget(self._folder, each.service.name)
        each.process, each.ready = None, False
        each.failed_starts = 0 if each.was_ready else each.failed_starts + 1
        if each.failed_starts >= self._pace.max_failed_starts:
            self._gave_up = True
            self._say(
                f"{each.service.name}: {how}, for the {each.failed_starts}th time without ever being ready. Giving up. "
                f"Its log, {each.log}, ends with:\n{last_words(each.log)}"
            )
            return
        pause_s = min(self._pace.first_pause_s * 2 ** min(each.num_pauses, 20), self._pace.longest_pause_s)
        each.not_before, each.num_pauses = now + pause_s, each.num_pauses + 1
        self._say(f"{each.service.name}: {how}; starting it again in {pause_s:g} s. Its log is {each.log}")

    def _end_all(self) -> None:
        """Politely first, the last started first; whoever is still there after the grace is killed."""
        running = [each for each in reversed(self._all) if each.process is not None]
        if running:
            self._say(f"stopping {', '.join(each.service.name for each in running)}")
        for each in running:
            assert each.process is not None
            _signal(each.process, signal.SIGTERM)
        deadline = time.monotonic() + self._pace.grace_s
        while any(each.process and each.process.poll() is None for each in running):
            if time.monotonic() > deadline or self._signals > 1:
                break
            time.sleep(0.05)
        for each in running:
            assert each.process is not None
            end_group(each.process.pid, 0)
            each.process.wait()
            forget(self._folder, each.service.name)
        self._say("stopped")


def _spawned(service: Service, path: Path, log_bytes: int) -> subprocess.Popen[bytes]:
    """The service as the leader of a process group of its own, everything it says in its log."""
    with _opened(path, log_bytes) as log:
        return subprocess.Popen(
            service.argv,
            env={**os.environ, **service.env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextmanager
def _opened(log: Path, max_bytes: int) -> Iterator[BinaryIO]:
    """The log for appending, after an overlong one is moved aside."""
    if log.exists() and log.stat().st_size > max_bytes:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as file:
        yield file


def _beats(heartbeat: Path | None, beat_s: float) -> bool:
    """Is the heartbeat there and fresh? A service without one is taken to be alive while it runs."""
    if heartbeat is None:
        return True
    return heartbeat.exists() and time.time() - heartbeat.stat().st_mtime < beat_s


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Tell the service's own process; its children are its own business until the grace is over."""
    if process.poll() is None:
        process.send_signal(number)


def _in_words(code: int) -> str:
    """A process's exit code as people say it.

    >>> _in_words(1), _in_words(-9)
    ('exit code 1', 'signal SIGKILL')
    """
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
