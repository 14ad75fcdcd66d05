"""`omniloop audit`: who did what, when and why."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.cli.common import console, show_table, workspace


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(audit)


def audit(
    who: Annotated[str, typer.Option(help="Only what this person, key or part of the product did.")] = "",
    subject: Annotated[str, typer.Option(help="Only what was done to such a thing: release, round, alert …")] = "",
    version: Annotated[int | None, typer.Option(help="Only what was done to this version.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many lines.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the numbers seen.")] = False,
) -> None:
    """The audit trail, newest first: who did what, when and why. Nothing can change it."""
    from db.repository import audit as trail

    with workspace() as ws, ws.database.read() as session:
        found = trail.newest(session, who=who or None, subject=subject or None, version=version, limit=limit)
        known = trail.subjects(session) if subject and not found else []
    if as_json:
        for entry in found:
            typer.echo(json.dumps(asdict(entry), default=str))
        return
    if not found:
        about = f" There are lines about {', '.join(known)}." if known else ""
        console.print(f"No line fits.{about}", highlight=False, markup=False)
        return
    table = Table("when (UTC)", "who", "did", "what", "why")
    for entry in found:
        moved = f", {entry.from_state or '–'} → {entry.to_state}" if entry.to_state else ""
        what = f"{entry.subject} {entry.subject_id}{moved}"
        cells = (f"{entry.at:%Y-%m-%d %H:%M:%S}", entry.who, entry.action, what.replace("_", " "), entry.why)
        table.add_row(*(escape(cell) for cell in cells))
    show_table(table)
