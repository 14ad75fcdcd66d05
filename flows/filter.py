"""Select what is worth labelling, as a Prefect flow of its own."""

from typing import Any

from prefect import flow

from flows.retrain import summary
from flows.steps.rounds import do_filter, open_round, run_steps
from flows.workspace import current


@flow(name="filter", persist_result=False)
def filter_samples(trigger: str = "manual") -> dict[str, Any]:
    """Open a round (or take the open one), score the unlabelled pool, and queue what is worth labelling."""
    with current() as ws:
        open_round(ws, trigger)
        return summary(run_steps(ws, do_filter))
