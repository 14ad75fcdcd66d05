"""Reports on drift and quality: make them, list them, look at one."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from flows.cli.common import console, prefect_workspace, show_table, workspace

app = typer.Typer(help="Drift and quality reports by Evidently: make, list, page.", no_args_is_help=True)

MOMENT = "%m-%d %H:%M"
Kind = Annotated[str, typer.Option(help="drift or quality.")]


@app.command("due")
def due(hours: Annotated[float, typer.Option(help="Length of a window.")] = 24.0) -> None:
    """Make what is due: of the last whole window of traffic, and of every round that has none. Runs the flow."""
    from flows.report import report

    with prefect_workspace():
        made = report(window_hours=hours)["reports"]
    console.print(f"{len(made)} reports: `omniloop reports list`.", highlight=False)


@app.command("make")
def make(
    kind: Kind = "drift",
    hours: Annotated[float, typer.Option(help="Of live traffic until now.")] = 24.0,
    version: Annotated[int | None, typer.Option(help="Default: the one in service.")] = None,
    round_: Annotated[int | None, typer.Option("--round", help="A round's validation instead of traffic.")] = None,
) -> None:
    """Make one report now."""
    from flows.steps.reporting import report_round, report_window

    with workspace() as ws:
        if round_ is not None:
            made = report_round(ws, kind, round_)
        else:
            now = ws.clock()
            made = report_window(ws, kind, start=now - timedelta(hours=hours), end=now, version=version)
    console.print(f"Report {made.id}; look at it with `omniloop reports page {made.id}`.", highlight=False)


@app.command("list")
def list_() -> None:
    """Reports, the latest first."""
    from db.repository import reports

    with workspace() as ws, ws.database.read() as session:
        found = reports.list_reports(session)
    if not found:
        console.print("There is no report yet. `omniloop reports make` makes one.")
        return
    table = Table("", "kind", "version", "of", "rows", "compared with", "drifted columns", "made (UTC)")
    for row in found:
        subject = (
            f"round {row.round_id}" if row.round_id else f"{row.starts_at:%m-%d %H:%M} – {row.ends_at:%m-%d %H:%M}"
        )
        share = next((value for name, value in row.numbers.items() if name.startswith("DriftedColumns")), None)
        drifted = "–" if share is None else f"{share:.0f}"
        rows = str(row.num_rows), str(row.num_reference)
        table.add_row(
            str(row.id), row.kind, f"v{row.version}", subject, *rows, drifted, f"{row.created_at:%m-%d %H:%M}"
        )
    show_table(table)


@app.command("page")
def page(
    number: Annotated[int, typer.Argument(help="Number of the report.")],
    out: Annotated[Path | None, typer.Option(help="HTML file to write; default: report-NUMBER.html.")] = None,
) -> None:
    """Write a report as one HTML page that needs nothing else."""
    from db.repository import reports
    from flows.steps.reporting import page_of

    with workspace() as ws:
        with ws.database.read() as session:
            row = reports.get(session, number)
        path = out or Path(f"report-{number}.html")
        path.write_text(page_of(ws, row))
    console.print(f"Written to {path}.", highlight=False)
