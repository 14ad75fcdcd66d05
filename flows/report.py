"""Make the drift and quality reports that are due, as a Prefect flow: what a schedule starts once a day."""

from datetime import timedelta
from typing import Any

from prefect import flow

from flows.steps.reporting import report_what_is_due
from flows.tracing import traced
from flows.workspace import current


@flow(name="report", persist_result=False)
def report(kinds: tuple[str, ...] = ("drift", "quality"), window_hours: float = 24.0) -> dict[str, Any]:
    """Report on the last whole window of live traffic and on every round that has no report yet."""
    with current() as ws, traced(ws.settings.tracing, "report"):
        made = report_what_is_due(ws, kinds, window=timedelta(hours=window_hours))
        return {"reports": [{"id": row.id, "kind": row.kind, "key": row.key} for row in made]}
