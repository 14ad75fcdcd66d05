"""Fine-tune on what was labelled, as a Prefect flow of its own."""

from typing import Any

from prefect import flow

from flows.retrain import summary
from flows.steps.rounds import do_labels, do_register, do_tune, run_steps
from flows.workspace import current


@flow(name="finetune", persist_result=False)
def finetune() -> dict[str, Any]:
    """If the round's labels are there, tune the last accepted version on them and register the candidate."""
    with current() as ws:
        return summary(run_steps(ws, do_labels, do_tune, do_register))
