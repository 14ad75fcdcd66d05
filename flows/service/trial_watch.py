"""Follows the database's trial: the version on trial is loaded beside the one in service, and leaves with the trial.

Called by the watch of versions with what it has read. A version that cannot be tried ends its trial, with the reason; a
store that cannot be reached does not.
"""

import logging
import time
from collections.abc import Callable
from functools import partial

from db.errors import BlobStoreUnavailable, DatabaseUnavailable, IllegalMove
from db.records import Release, Trial
from db.repository import alerts, trials, versions
from flows.service.own_key import own_salt
from flows.steps.models import load_release
from flows.workspace import Workspace
from omni_model.msn.choice import Selector
from omni_model.serve.engine import Engine
from omni_model.serve.errors import VersionRefused
from omni_model.serve.exchange import Request

logger = logging.getLogger(__name__)

SERVICE = "service"
"""Who ends a trial whose version cannot be served."""
ALERT = "service:trial-refused"
PAUSE_S = 5.0
"""Before a version is tried again whose bytes could not be reached."""


class TrialWatch:
    """Starts and ends the engine's trial as the database says."""

    def __init__(
        self,
        ws: Workspace,
        engine: Engine,
        *,
        golden: Callable[[], list[Request]],
        selector_of: Callable[[int], Selector | None],
        on_refusal: Callable[[], None],
    ) -> None:
        self._ws, self._engine = ws, engine
        self._golden, self._selector_of, self._on_refusal = golden, selector_of, on_refusal
        self._not_before = 0.0

    def leave(self, wanted: Trial | None, in_service: int | None) -> None:
        """End the engine's trial if it is not the wanted one. A version that comes into service stays in memory."""
        present = self._engine.trial
        if present is None or present.version == in_service:
            return
        if wanted is None or wanted.version != present.version:
            self._engine.end_trial()
            logger.info("the trial of v%d is over", present.version)

    def enter(self, wanted: Trial | None) -> None:
        """Start the wanted trial, unless it runs, or the version that it is against does not answer yet."""
        served, present = self._engine.served, self._engine.trial
        if wanted is None or served is None or served.version != wanted.base_version:
            return
        if present is not None and tuple(present) == (wanted.version, wanted.mode, wanted.share):
            return
        if time.monotonic() < self._not_before:
            return
        with self._ws.database.read() as session:
            release = versions.get_release(session, wanted.version)
        try:
            self._start(wanted, release)
        except VersionRefused as error:
            if isinstance(error.__cause__, DatabaseUnavailable | BlobStoreUnavailable):
                self._not_before = time.monotonic() + PAUSE_S
                logger.warning("%s It is tried again in %g s.", error, PAUSE_S)
                return
            self._refuse(wanted, error)

    def _start(self, wanted: Trial, release: Release) -> None:
        self._engine.start_trial(
            wanted.version,
            partial(load_release, self._ws, release),
            mode=wanted.mode,
            share=wanted.share,
            golden=self._golden(),
            selector=self._selector_of(wanted.version),
            salt=own_salt(self._ws.home, "canary"),
        )
        logger.info("v%d is on trial: %s of %g of the requests", wanted.version, wanted.mode, wanted.share)
        with self._ws.database.read() as session:
            is_open = alerts.open_alert(session, ALERT) is not None
        if is_open:
            with self._ws.database.write() as session:
                alerts.resolve(session, ALERT, now=self._ws.clock())

    def _refuse(self, wanted: Trial, error: VersionRefused) -> None:
        """End the trial of a version that cannot be served, and report why."""
        logger.error("%s", error)
        self._on_refusal()
        now = self._ws.clock()
        with self._ws.database.write() as session:
            try:
                trials.end(session, who=SERVICE, outcome="refused", why=str(error), now=now, expect=wanted.id)
            except IllegalMove as moved:
                logger.info("%s", moved)
            alerts.raise_alert(
                session,
                ALERT,
                name="A version on trial cannot be served",
                severity="warning",
                summary=str(error),
                now=now,
                labels={"version": wanted.version},
            )
