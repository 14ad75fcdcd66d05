"""Judge the candidate and move it, as a Prefect flow of its own."""

from typing import Any

from prefect import flow

from flows.retrain import summary
from flows.steps.reconciling import reconcile
from flows.steps.rounds import do_decide, run_steps
from flows.workspace import current


@flow(name="release", persist_result=False)
def release_candidate() -> dict[str, Any]:
    """Promote, reject, or put before a person what was validated; then let MLflow follow."""
    with current() as ws:
        report = run_steps(ws, do_decide)
        reconcile(ws)
        return summary(report)
