"""Versions: list, show, card, compare; approve, reject, roll back, each with who and why."""

from collections.abc import Callable
from math import isfinite, isnan
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from db.records import Release
from flows.cli.common import console, person, show_table, workspace

if TYPE_CHECKING:
    from flows.workspace import Workspace

app = typer.Typer(help="Versions: list, show, card, compare, approve, reject, roll back.", no_args_is_help=True)
Who = Annotated[str, typer.Option(help="Your name in the audit trail.")]
Why = Annotated[str, typer.Option(help="Your reason; goes into the audit trail.")]
Version = Annotated[int, typer.Argument(help="The version's number: 3 for v3.")]


@app.command("list")
def list_() -> None:
    """Every version with its state, its parent, its validation accuracy, and whether it is in service."""
    from db.repository import versions

    with workspace() as ws, ws.database.read() as session:
        known = versions.history(session)
        serving = versions.serving(session)
    if not known:
        console.print("There is no version yet. Train the first one with `omniloop train`.")
        return
    table = Table("version", "state", "from", "round", "validation accuracy", "since (UTC)")
    for row in known:
        accuracy = row.metrics.get("accuracy")
        table.add_row(
            f"v{row.version}" + (" ← in service" if row.version == serving.version else ""),
            row.state.replace("_", " "),
            f"v{row.parent_version}" if row.parent_version else "–",
            str(row.round_id or "–"),
            "–" if accuracy is None else f"{accuracy:.3f}",
            f"{row.updated_at:%Y-%m-%d %H:%M:%S}",
        )
    show_table(table)


@app.command("show")
def show(version: Version) -> None:
    """One version: where it came from, what it stores, and everybody who moved it, when, why and on which numbers."""
    from db.repository import audit, versions

    with workspace() as ws, ws.database.read() as session:
        row = versions.get_release(session, version)
        trail = audit.history(session, version=version)
    base = f"interaction layers over {row.base_digest[:12]}" if row.base_digest else "all layers"
    parent = f"v{row.parent_version}" if row.parent_version else "nothing"
    console.print(
        f"v{row.version} is {row.state.replace('_', ' ')}; from {parent}, round {row.round_id}.\n"
        f"Weights {row.digest[:12]} ({base}); MLflow version {row.mlflow_version or '–'}, "
        f"run {row.mlflow_run_id or '–'}.",
        highlight=False,
    )
    table = Table("when (UTC)", "who", "became", "why", "numbers")
    for entry in trail:
        numbers = ", ".join(
            f"{key} {_short(value)}" for key, value in entry.numbers.items() if not isinstance(value, list)
        )
        became = (entry.to_state or entry.action).replace("_", " ")
        table.add_row(f"{entry.at:%Y-%m-%d %H:%M:%S}", entry.who, became, entry.why, numbers)
    show_table(table)


@app.command("card")
def card(version: Version, again: Annotated[bool, typer.Option("--again", help="Measure it anew.")] = False) -> None:
    """A version's model card, as Markdown; made first if there is none."""
    from flows.reporter import SILENT
    from flows.steps.carding import card_of, make_card

    with workspace() as ws:
        told = None if again else card_of(ws, version)
        if told is None:
            make_card(ws.with_(reporter=SILENT), version)
            told = card_of(ws, version)
    typer.echo(told)


@app.command("compare")
def compare(
    old: Version, new: Version, all_slices: Annotated[bool, typer.Option("--all", help="Every slice.")] = False
) -> None:
    """Two versions metric by metric on the validation samples, with the interval of the relative change."""
    from flows.steps.comparing import compare_versions

    with workspace() as ws:
        rows = compare_versions(ws, old, new)
    table = Table("metric", "slice", f"v{old}", f"v{new}", "change", "interval", "samples")
    for row in rows:
        if row.num_samples and (all_slices or row.slice == "all" or row.slice.startswith("domain=")):
            interval = f"{_percent(row.low)} to {_percent(row.high)}" if isfinite(row.low + row.high) else "–"
            figures = (_short(row.old), _short(row.new), _percent(row.relative_change), interval, str(row.num_samples))
            table.add_row(row.metric, row.slice, *figures)
    show_table(table)


@app.command("approve")
def approve(version: Version, why: Why, who: Who = "") -> None:
    """Put a version that waits for approval in service, on probation."""
    from flows.steps.approving import approve as step

    with workspace() as ws:
        moved = step(ws, version, who=who or person(), why=why)
        tell(ws, moved)


@app.command("reject")
def reject(version: Version, why: Why, who: Who = "") -> None:
    """Refuse a version for good; its round's labels are quarantined."""
    from db.repository import releases

    move(releases.reject, version, who, why)


@app.command("accept")
def accept(version: Version, why: Why, who: Who = "") -> None:
    """End a probation well by hand."""
    from db.repository import releases

    move(releases.accept, version, who, why)


@app.command("rollback")
def rollback(version: Version, why: Why, who: Who = "") -> None:
    """Take the version in service back: the one accepted before it serves again, the round's labels are quarantined."""
    from db.repository import releases

    move(releases.rollback, version, who, why)


def move(step: Callable[..., Release], version: int, who: str, why: str) -> None:
    """Move a release in one transaction and say what serves now."""
    with workspace() as ws:
        with ws.database.write() as session:
            moved = step(session, version, who=who or person(), why=why, now=ws.clock())
        tell(ws, moved)


def tell(ws: "Workspace", moved: Release) -> None:
    """Say where a release is now, and what serves."""
    from db.repository import versions

    with ws.database.read() as session:
        serving = versions.serving(session).version
    in_service = f"v{serving} is in service" if serving else "nothing is in service"
    console.print(f"v{moved.version} is {moved.state.replace('_', ' ')}; {in_service}.", highlight=False)


def _short(value: Any) -> str:
    """A value of few digits; a number that could not be computed is a dash.

    >>> _short(0.123456), _short(float("nan")), _short("text")
    ('0.1235', '–', 'text')
    """
    if isinstance(value, float):
        return "–" if isnan(value) else f"{value:.4g}"
    return str(value)


def _percent(value: float) -> str:
    """A change as a person reads it.

    >>> _percent(-0.0312), _percent(float("nan"))
    ('-3.1%', '–')
    """
    return f"{value:+.1%}" if isfinite(value) else "–"
