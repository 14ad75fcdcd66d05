"""Fits the selector of a version that answers without one; what fails is told of and tried again later.

A promotion neither fits nor waits: until the selector is there, the static rules choose for requests with a budget.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from db.records.artefacts import MSN, Artefact
from db.repository import alerts, artefacts, trials, versions
from flows.errors import NothingToDo
from flows.workspace import Workspace

logger = logging.getLogger(__name__)

ALERT = "pulse:selector"
LONGEST_RETRY_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Failed:
    """What came of the tries to fit a version's selector."""

    version: int
    num_tries: int
    not_before: float
    """Monotonic time of the next try."""


def is_missing(ws: Workspace) -> int | None:
    """A version that answers and has no selector: the one in service, or else the one on trial; None if both have."""
    with ws.database.read() as session:
        trial = trials.running(session)
        answering = (versions.serving(session).version, None if trial is None else trial.version)
        for version in answering:
            if version is not None and artefacts.newest(session, version, MSN) is None:
                return version
    return None


def fit_selector(ws: Workspace, version: int) -> Artefact:
    """The step, imported when it is needed: it brings the model's libraries."""
    from flows.steps import selectors

    return selectors.fit_selector(ws, version)


class Refitter:
    """Looks for a version without a selector; remembers for how long to leave one alone."""

    def __init__(
        self,
        ws: Workspace,
        fit: Callable[[Workspace, int], Artefact] = fit_selector,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ws = ws
        self._fit = fit
        self._monotonic = monotonic
        self._failed: Failed | None = None

    def step(self) -> int | None:
        """Fit one selector if one is missing and it is time to; returns the version it was fitted for."""
        version = is_missing(self._ws)
        if version is None:
            self._settle()
            return None
        failed = self._failed if self._failed is not None and self._failed.version == version else None
        if failed is not None and self._monotonic() < failed.not_before:
            return None
        try:
            self._fit(self._ws, version)
        except NothingToDo as reason:
            self._wait(version, failed)
            logger.info("%s", reason)
            return None
        except Exception as error:  # noqa: BLE001  whatever it is, the version answers without a selector of its own
            self._tell(version, error, self._wait(version, failed))
            return None
        self._settle()
        return version

    def _wait(self, version: int, failed: Failed | None) -> float:
        """Leave the version alone for a while, twice as long after each try; returns the seconds."""
        num_tries = 0 if failed is None else failed.num_tries
        pause_s: float = min(self._ws.settings.pulse.retry_s * 2 ** min(num_tries, 20), LONGEST_RETRY_S)
        self._failed = Failed(version=version, num_tries=num_tries + 1, not_before=self._monotonic() + pause_s)
        return pause_s

    def _tell(self, version: int, error: Exception, pause_s: float) -> None:
        summary = (
            f"No selector could be fitted for v{version}: {type(error).__name__}: {error} "
            f"The static rules choose until the next try, in {pause_s:g} s."
        )
        logger.error("%s", summary)
        with self._ws.database.write() as session:
            alerts.raise_alert(
                session, ALERT, name="no selector", severity="warning", summary=summary, now=self._ws.clock()
            )

    def _settle(self) -> None:
        """All is well: an alert of this process or an earlier one ends."""
        self._failed = None
        with self._ws.database.read() as session:
            is_told = alerts.open_alert(session, ALERT) is not None
        if is_told:
            with self._ws.database.write() as session:
                alerts.resolve(session, ALERT, now=self._ws.clock())
