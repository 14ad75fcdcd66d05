"""Capture a baseline of the version in service, as a Prefect flow of its own."""

from typing import Any

from prefect import flow

from flows.steps.capturing import capture
from flows.tracing import traced
from flows.workspace import current


@flow(name="baseline", persist_result=False)
def baseline(who: str = "schedule", why: str = "") -> dict[str, Any]:
    """Measure the version in service on validation samples and recent traffic; that is what it is held to from now."""
    with current() as ws, traced(ws.settings.tracing, "baseline"):
        found = capture(ws, who=who, why=why or "Asked for.")
        return {"baseline": found.id, "version": found.version, "metrics": found.values["metrics"]}
