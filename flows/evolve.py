"""Look for a better architecture and let the gate decide about it, as one Prefect flow."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.errors import NothingInService, NothingToDo
from flows.retrain import as_task, nothing_done, summary
from flows.steps.evolving import search
from flows.steps.reconciling import reconcile
from flows.steps.requesting import EVOLVE
from flows.steps.rounds import run_round
from flows.workspace import current


@flow(name="evolve", persist_result=False)
def evolve() -> dict[str, Any]:
    """Search around the version accepted last; what is proposed is trained as a candidate, for the same gate."""
    with current() as ws:
        try:
            found = task(name="search", cache_policy=NO_CACHE, persist_result=False)(search)(ws)
            if found.proposal is None:
                return nothing_done(
                    ws, NothingToDo(f"No architecture was better than that of v{found.version} by enough; it stays.")
                )
            report = run_round(ws, EVOLVE, wrap=as_task)
        except (NothingInService, NothingToDo) as reason:
            ws.reporter.say(str(reason))
            return {"round": None, "outcome": "nothing to do", "why": str(reason)}
        task(name="reconcile", cache_policy=NO_CACHE)(reconcile)(ws)
        return summary(report) | {"changes": found.proposal.detail["changes"]}
