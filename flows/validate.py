"""Compare the candidate with the version in service, as a Prefect flow of its own."""

from typing import Any

from prefect import flow

from flows.retrain import summary
from flows.steps.rounds import do_validate, run_steps
from flows.workspace import current


@flow(name="validate", persist_result=False)
def validate_candidate() -> dict[str, Any]:
    """Let both versions answer the same validation samples and keep the evidence."""
    with current() as ws:
        return summary(run_steps(ws, do_validate))
