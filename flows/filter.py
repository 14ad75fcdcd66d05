"""Select what is worth labelling, as a Prefect flow of its own."""

from typing import Any

from prefect import flow

from flows.errors import NothingToDo
from flows.retrain import nothing_done, summary
from flows.steps.rounds import do_filter, run_steps
from flows.workspace import current


@flow(name="filter", persist_result=False)
def filter_samples(trigger: str = "manual", who: str = "") -> dict[str, Any]:
    """Open a round (or take the open one), score the unlabelled pool, and queue what is worth labelling."""
    with current() as ws:
        try:
            return summary(run_steps(ws, do_filter, trigger=trigger, who=who))
        except NothingToDo as reason:
            return nothing_done(ws, reason)
