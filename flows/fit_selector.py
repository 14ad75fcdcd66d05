"""Measure and fit how a version chooses modalities, as a Prefect flow of its own."""

from typing import Any

from prefect import flow

from flows.errors import NothingInService, NothingToDo
from flows.steps import selectors
from flows.workspace import current


@flow(name="fit-selector", persist_result=False)
def fit_selector(version: int | None = None) -> dict[str, Any]:
    """Fit the selector of a version, of the one in service if none is named."""
    with current() as ws:
        try:
            made = selectors.fit_selector(ws, selectors.in_service(ws) if version is None else version)
        except (NothingInService, NothingToDo) as reason:
            ws.reporter.say(str(reason))
            return {"version": version, "outcome": "nothing to do", "why": str(reason)}
        return {"version": made.version, "outcome": "fitted", "digest": made.digest, **made.detail}
