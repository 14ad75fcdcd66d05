"""Watch the version on probation, as a Prefect flow of its own."""

from typing import Any

from prefect import flow

from flows.steps.reconciling import reconcile
from flows.steps.watching import watch_probation
from flows.workspace import current


@flow(name="probation", persist_result=False)
def probation() -> dict[str, Any]:
    """Score the feedback that came in on both versions, and accept or roll back when the test has decided."""
    with current() as ws:
        report = watch_probation(ws)
        reconcile(ws)
        if report is None:
            return {"version": None, "verdict": "nothing on probation"}
        return {
            "version": report.release.version,
            "state": report.release.state,
            "verdict": report.state.verdict,
            "num_pairs": report.state.num_pairs,
            "why": report.state.reason,
        }
