"""The round as one Prefect flow: what a schedule, a trigger or a person starts."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.errors import NothingToDo
from flows.steps.cancelling import StepFunction
from flows.steps.reconciling import reconcile
from flows.steps.rounds import RoundReport, run_round
from flows.workspace import Workspace, current


@flow(name="retrain", persist_result=False)
def retrain(trigger: str = "schedule", who: str = "") -> dict[str, Any]:
    """Filter, label, fine-tune, validate, decide: as far as the round goes. An open round is taken up again.

    ``who``: the person who asks for it, if one does.
    """
    with current() as ws:
        try:
            report = run_round(ws, trigger, wrap=as_task, who=who)
        except NothingToDo as reason:
            return nothing_done(ws, reason)
        task(name="reconcile", cache_policy=NO_CACHE)(reconcile)(ws)
        return summary(report)


def as_task(step: StepFunction) -> StepFunction:
    """A step as a Prefect task, so that its time and its failure show on Prefect's pages."""

    def run(ws: Workspace, round_: Any) -> None:
        task(name=step.__name__.removeprefix("do_"), cache_policy=NO_CACHE, persist_result=False)(step)(ws, round_)

    return run


def nothing_done(ws: Workspace, reason: NothingToDo) -> dict[str, Any]:
    """Say why there was nothing to do; that is no failure."""
    ws.reporter.say(str(reason))
    return {"round": None, "outcome": "nothing to do", "why": str(reason)}


def summary(report: RoundReport) -> dict[str, Any]:
    """A round's report as JSON."""
    decision = report.decision
    return {
        "round": report.round.id,
        "step": report.round.step,
        "outcome": report.round.outcome,
        "num_labels_missing": report.num_labels_missing,
        "version": None if decision is None else decision.release.version,
        "state": None if decision is None else decision.release.state,
        "verdict": None if decision is None else decision.verdict,
        "reasons": [] if decision is None else list(decision.reasons),
    }
