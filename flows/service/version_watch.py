"""Follows the database: when its generation changes, the version it names is loaded, checked and put in service. Its
trial and the selectors of versions are followed along the way, by files of their own.

The database decides, this thread obeys within about a poll and a load. A version that cannot be served raises an alert
and is tried again after a pause; until then the one before it answers.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from db.errors import DatabaseError
from db.records import Serving
from db.repository import alerts, samples, trials, versions
from flows.service.selector_watch import SelectorWatch
from flows.service.trial_watch import TrialWatch
from flows.steps.models import load_release
from flows.workspace import Workspace
from omni_model.serve.engine import Engine
from omni_model.serve.errors import VersionRefused
from omni_model.serve.exchange import Request

logger = logging.getLogger(__name__)

GOLDEN_ROWS = 4
"""Stored samples of each split that a version must answer before it serves."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
ALERT = "service:version-refused"


class VersionWatch:
    """Looks every `poll_s` on a thread of its own."""

    def __init__(
        self,
        ws: Workspace,
        engine: Engine,
        *,
        poll_s: float,
        on_swap: Callable[[], None],
        on_refusal: Callable[[], None],
    ) -> None:
        self._ws, self._engine, self._poll_s = ws, engine, poll_s
        self._on_swap, self._on_refusal = on_swap, on_refusal
        self._stop, self._looked = threading.Event(), threading.Event()
        self._selectors = SelectorWatch(ws, engine)
        self._trials = TrialWatch(
            ws, engine, golden=lambda: golden(ws), selector_of=self._selectors.load, on_refusal=on_refusal
        )
        self._refused: tuple[int, str] | None = None
        self._pause_s, self._not_before = FIRST_PAUSE_S, 0.0
        self._thread = threading.Thread(target=self._run, name="version-watch", daemon=True)
        self._thread.start()

    @property
    def has_looked(self) -> bool:
        """Whether the database was read at least once, and what it named was tried."""
        return self._looked.is_set()

    @property
    def refusal(self) -> str:
        """Why the version that the database names does not answer; empty if it does."""
        return self._refused[1] if self._refused else ""

    def close(self) -> None:
        """End the thread, after the load that it may be at."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._look()
                self._looked.set()
            except DatabaseError as error:
                logger.warning("the version in service could not be looked up; the one in memory goes on: %s", error)
            except Exception:
                logger.exception("looking for the version in service failed; the one in memory goes on")
            self._stop.wait(self._poll_s)

    def _look(self) -> None:
        """Compare what the database names with what answers, and change over if they differ.

        Versions, trial and selectors are read at one moment. A trial that is over ends before the change, so that no
        version answers that is neither in service nor on trial; one that begins, after it.
        """
        with self._ws.database.read() as session:
            wanted, trial = versions.serving(session), trials.running(session)
            newest = self._selectors.newest(session, wanted.version, None if trial is None else trial.version)
        self._trials.leave(trial, wanted.version)
        self._serve(wanted)
        self._trials.enter(trial)
        self._selectors.follow(newest)

    def _serve(self, wanted: Serving) -> None:
        served = self._engine.served
        if wanted.version is None:
            if served is not None:
                self._engine.withdraw()
            return
        if served is not None and (served.version, served.generation) == (wanted.version, wanted.generation):
            return
        if self._refused is not None and self._refused[0] == wanted.generation and time.monotonic() < self._not_before:
            return
        self._change_to(wanted)

    def _change_to(self, wanted: Serving) -> None:
        version = wanted.version
        assert version is not None
        began = time.monotonic()
        with self._ws.database.read() as session:
            release = versions.get_release(session, version)
        try:
            self._engine.put_in_service(
                version,
                wanted.generation,
                partial(load_release, self._ws, release),
                golden=golden(self._ws),
                selector=self._selectors.load(version),
            )
        except VersionRefused as error:
            self._refuse(wanted.generation, error)
            return
        self._on_swap()
        logger.info(
            "v%d is in service, generation %d, after %.2f s", version, wanted.generation, time.monotonic() - began
        )
        if self._refused is not None:
            self._refused = None
            with self._ws.database.write() as session:
                alerts.resolve(session, ALERT, now=self._ws.clock())

    def _refuse(self, generation: int, error: VersionRefused) -> None:
        """Remember and report a refusal; the pause before the next try doubles."""
        is_new = self._refused is None or self._refused[0] != generation
        self._pause_s = FIRST_PAUSE_S if is_new else min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._not_before = time.monotonic() + self._pause_s
        self._refused = (generation, str(error))
        self._on_refusal()
        logger.error("%s", error)
        with self._ws.database.write() as session:
            alerts.raise_alert(
                session,
                ALERT,
                name="A version cannot be served",
                severity="critical",
                summary=str(error),
                now=self._ws.clock(),
                labels={"version": error.version},
            )


def golden(ws: Workspace) -> list[Request]:
    """A few stored samples as requests. One whose bytes cannot be read is left out: it says nothing of a version."""
    with ws.database.read() as session:
        stored = [
            row for split in ("val", "test") for row in samples.list_samples(session, split=split, limit=GOLDEN_ROWS)
        ]
    found = []
    for row in stored:
        try:
            content = {name: ws.blobs.get(digest) for name, digest in row.inputs.items()}
        except DatabaseError as error:
            logger.warning("sample %s is no golden input: %s", row.id, error)
            continue
        found.append(Request(id=row.id, task=row.task, instruction=row.instruction, content=content))
    return found
