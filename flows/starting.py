"""When a round is started or taken up again by itself: exactly one run at a time, and none that can change nothing."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from math import inf

from sqlalchemy.orm import Session

from db.records import Round
from db.repository import alerts, label_queue, rounds, samples, triggers, versions
from flows.home import held_by
from flows.round_runs import DONE, FAILED, GOING, Runs
from flows.workspace import Workspace

logger = logging.getLogger(__name__)

LONGEST_RETRY_S = 3600.0
ALERT = "pulse:round"


@dataclass(frozen=True, kw_only=True)
class Due:
    """A reason to start a run."""

    trigger: str
    """What the run is told: the kind of the request, or ``resume``."""
    situation: str
    """As long as it stays the same, a run that has ended well need not be repeated."""
    why: str


@dataclass(frozen=True)
class Try:
    """What came of starting a run in a situation."""

    run_id: str
    num_failures: int = 0
    not_before: float = inf
    """Monotonic time of the next try: never, unless the run has failed."""


def what_is_due(ws: Workspace) -> list[Due]:
    """Reasons to start a run now: requests while no round is open, else the open round if it can go on."""
    with ws.database.read() as session:
        round_ = rounds.resume_target(session)
        if round_ is not None:
            return _can_go_on(ws, session, round_)
        base = versions.last_accepted(session)
        known = (samples.fingerprint(session), None if base is None else base.version)
        return [
            Due(
                trigger=trigger.kind,
                situation=f"request {trigger.id} made {trigger.num_requests} times, {known}",
                why=f"{trigger.kind.replace('_', ' ')}: {trigger.detail.get('why', 'somebody asked for it')}",
            )
            for trigger in triggers.pending(session)
        ]


def _can_go_on(ws: Workspace, session: Session, round_: Round) -> list[Due]:
    if round_.step == "filtered":
        num_done, num_queued = label_queue.progress(session, round_.id)
        if num_queued and num_done / num_queued < ws.settings.loop.label_share_to_go_on:
            return []
        why = f"round {round_.id} has {num_done} of the {num_queued} labels that it asked for"
        return [Due(trigger="resume", situation=f"round {round_.id} with {num_done} labels", why=why)]
    if ws.clock() - round_.updated_at < timedelta(seconds=ws.settings.pulse.resume_after_s):
        return []
    why = f"round {round_.id} was left at {round_.step!r}"
    return [Due(trigger="resume", situation=f"round {round_.id} at {round_.step}", why=why)]


class Starter:
    """Starts what is due. Remembers what it has tried, so that a run that came to nothing is not repeated in vain."""

    def __init__(
        self,
        ws: Workspace,
        runs: Callable[[], AbstractContextManager[Runs | None]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ws = ws
        self._runs = runs
        self._monotonic = monotonic
        self._tried: dict[str, Try] = {}
        self._latest: Due | None = None
        self._idle_since: dict[str, float] = {}

    def step(self) -> str | None:
        """Start one run if one is due and none is going; returns its id."""
        due = what_is_due(self._ws)
        if not due and self._latest is None:
            return None
        if held_by(self._ws.home, "a round") is not None:
            self._idle_since.clear()
            return None
        with self._runs() as runs:
            if runs is None or self._is_going(runs):
                return None
            self._learn(runs)
            possible = {each.situation for each in due}
            self._tried = {situation: tried for situation, tried in self._tried.items() if situation in possible}
            for each in due:
                if self._may_try(each):
                    return self._start(runs, each)
        return None

    def _start(self, runs: Runs, due: Due) -> str:
        run_id, before = runs.start(due.trigger), self._tried.get(due.situation)
        self._tried[due.situation] = Try(run_id, 0 if before is None else before.num_failures)
        self._latest = due
        self._ws.reporter.say(f"pulse       starts a run, because {due.why}")
        return run_id

    def _may_try(self, due: Due) -> bool:
        """Has nothing been tried in this situation, or has it failed long enough ago?"""
        tried = self._tried.get(due.situation)
        return tried is None or self._monotonic() >= tried.not_before

    def _learn(self, runs: Runs) -> None:
        """Take note of how the latest run has ended."""
        if self._latest is None:
            return
        outcome = runs.outcome(self._tried[self._latest.situation].run_id)
        if outcome == FAILED:
            self._note_failure(self._latest)
        elif outcome == DONE:
            with self._ws.database.write() as session:
                alerts.resolve(session, ALERT, now=self._ws.clock())
        if outcome != GOING:
            self._latest = None

    def _is_going(self, runs: Runs) -> bool:
        """Is a run going that is more than a name in Prefect? One whose process is gone for good is given up."""
        now, going = self._monotonic(), runs.going()
        begun = {run.id for run in going if run.has_begun}
        self._idle_since = {run_id: self._idle_since.get(run_id, now) for run_id in begun}
        lost = {id_ for id_, since in self._idle_since.items() if now - since >= self._ws.settings.pulse.orphan_after_s}
        for run_id in lost:
            logger.warning("Run %s is called running, but no process works on a round: given up.", run_id)
            runs.give_up(run_id)
        return any(run.id not in lost for run in going)

    def _note_failure(self, due: Due) -> None:
        tried, pulse = self._tried[due.situation], self._ws.settings.pulse
        pause_s = min(pulse.retry_s * 2 ** min(tried.num_failures, 20), LONGEST_RETRY_S)
        self._tried[due.situation] = replace(
            tried, num_failures=tried.num_failures + 1, not_before=self._monotonic() + pause_s
        )
        summary = (
            f"The run {tried.run_id}, started because {due.why}, has failed; the next try is in {pause_s:g} s. "
            "Prefect's page of the run tells why."
        )
        logger.error("%s", summary)
        with self._ws.database.write() as session:
            alerts.raise_alert(
                session, ALERT, name="a round failed", severity="error", summary=summary, now=self._ws.clock()
            )
