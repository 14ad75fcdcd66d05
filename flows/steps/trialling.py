"""Trials: what both versions answered to the same requests is judged as in probation, before anybody depends on it.

The pairs are kept under the version on trial, so a probation that follows goes on with them.
"""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from db.errors import IllegalMove
from db.records import Agreement, Release, Trial
from db.repository import mirrors, probation, releases, rounds, trials, versions
from db.repository.checks import check_way_is_free
from db.repository.common import hold_the_loop
from flows.steps.deciding import why_not_by_itself
from flows.steps.watching import numbers_of, pair_mirrors
from flows.workspace import Workspace
from monitoring.probation import ACCEPT, INCONCLUSIVE, ROLLBACK, ProbationState, replay

JUDGE = "trial"
"""Who ends a trial in the audit trail when the sequential test did."""
OUTCOMES = {ROLLBACK: "failed", ACCEPT: "passed", INCONCLUSIVE: "undecided"}
"""What a verdict means for a trial."""


@dataclass(frozen=True, kw_only=True)
class TrialReport:
    """Where a trial stands."""

    trial: Trial
    state: ProbationState
    """Of the pairs: requests with feedback that both versions answered."""
    agreement: Agreement
    """Of all requests that both answered in this trial, with feedback or without."""
    num_new_pairs: int = 0
    num_waiting: int = 0
    """Requests of a running trial with feedback that both versions answered and that are no pair yet."""


def judge_trial(ws: Workspace) -> TrialReport | None:
    """Pair the feedback that has come in and act on the verdict; None when no trial runs."""
    with ws.database.read() as session:
        trial = trials.running(session)
    if trial is None:
        return None
    num_new = pair_mirrors(ws, trial.version, trial.base_version)
    report = report_of(ws, trial, num_new_pairs=num_new)
    act(ws, trial, report.state)
    with ws.database.read() as session:
        return TrialReport(
            trial=trials.get(session, trial.id), state=report.state, agreement=report.agreement, num_new_pairs=num_new
        )


def report_of(ws: Workspace, trial: Trial, *, num_new_pairs: int = 0) -> TrialReport:
    """The figures of a trial as they are stored; moves nothing."""
    with ws.database.read() as session:
        pairs = [(pair.new_correct, pair.old_correct) for pair in probation.pairs(session, trial.version)]
        agreement = mirrors.agreement(session, trial.version, trial.base_version, since=trial.started_at)
        waiting = mirrors.pairs(session, trial.version, trial.base_version) if trial.is_running else []
    state = replay(ws.settings.probation, pairs)
    return TrialReport(
        trial=trial, state=state, agreement=agreement, num_new_pairs=num_new_pairs, num_waiting=len(waiting)
    )


def act(ws: Workspace, trial: Trial, state: ProbationState) -> None:
    """End a trial that is decided, and move its version as the promotion policy says. A person who was faster wins."""
    outcome = OUTCOMES.get(state.verdict)
    if outcome is None:
        return
    with ws.database.write() as session:
        hold_the_loop(session)
        present = trials.running(session)
        if present is None or present.id != trial.id:
            return
        release = versions.get_release(session, trial.version)
        numbers, why = numbers_of(state), figures(state)
        target, told = follows(session, ws, release, outcome)
        trials.end(
            session, who=JUDGE, outcome=outcome, why=f"{why} {told}", numbers=numbers, now=ws.clock(), expect=trial.id
        )
        if target is not None:
            step = {"reject": releases.reject, "promote": releases.promote, "wait": releases.await_approval}[target]
            step(
                session, release.version, who=JUDGE, why=f"Its trial {outcome}: {why}", numbers=numbers, now=ws.clock()
            )
    ws.reporter.say(f"trial       v{trial.version} {outcome}: {why} {told}")


def follows(session: Session, ws: Workspace, release: Release, outcome: str) -> tuple[str | None, str]:
    """What comes of a version after its trial ("reject", "promote", "wait" for a person, None), and what is said of it.

    Without a person only the policy `auto` moves it: it rejects what failed, and promotes what passed if the gate had
    accepted it too. A version whose round is not decided yet is left to the gate.
    """
    is_auto = ws.settings.loop.promotion == "auto"
    if outcome == "failed" and is_auto:
        return "reject", f"v{release.version} is rejected."
    hindrance = hindrance_of(session, release)
    if outcome == "passed" and is_auto and not hindrance:
        return "promote", f"The gate had accepted it, and v{release.version} is promoted."
    if is_undecided(session, release):
        return None, "The gate decides."
    said = f"{hindrance} " if outcome == "passed" and is_auto else ""
    advice = "reject" if outcome == "failed" else "approve"
    told = f"{said}A person decides: `omniloop models {advice} {release.version}`."
    return "wait" if release.state == "candidate" else None, told


def hindrance_of(session: Session, release: Release) -> str:
    """What keeps a version that passed from being promoted without a person; empty if nothing does."""
    verdict = None
    if release.round_id is not None:
        verdict = rounds.get_round(session, release.round_id).outputs.get("decided", {}).get("verdict")
    if verdict != "accept":
        return f"The gate did not accept it ({verdict or 'it was not asked'})."
    try:
        check_way_is_free(session, release)
    except IllegalMove as error:
        return str(error)
    return why_not_by_itself(session, release)


def is_undecided(session: Session, release: Release) -> bool:
    """Whether the gate has yet to judge the version."""
    if release.round_id is None or release.state != "candidate":
        return False
    return rounds.get_round(session, release.round_id).closed_at is None


def figures(state: ProbationState) -> str:
    """The figures behind a verdict in words, without the word for the verdict."""
    return state.reason.partition(": ")[2].removesuffix(" A person decides.")
