"""`omniloop status`: the overview in the terminal."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from flows.cli.common import console, show_table, workspace

if TYPE_CHECKING:
    from flows.steps.status import Status
    from monitoring.vitals import Limit

NOT_WELL = 3
"""The exit status unless all is well; errors have 1 and 2."""
STATES = {"ok": "ok", "no_data": "not enough data"}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(status)


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object.")] = False,
) -> None:
    """Is it well? What is in service, the measures against their limits, alerts, and what waits for somebody.

    Exit status 0: well. 3: something needs a look, or it is not known.
    """
    from flows.steps.status import status as look

    with workspace() as ws:
        found = look(ws)
    if as_json:
        typer.echo(json.dumps(asdict(found), default=str))
    else:
        tell(found)
    if found.verdict.state != "good":
        raise typer.Exit(NOT_WELL)


def tell(found: "Status") -> None:
    """For a person to read."""
    console.print(f"[bold]{found.verdict.words}[/bold]", highlight=False)
    lines = list(found.verdict.reasons)
    if found.release is not None:
        state = found.release.state.replace("_", " ")
        pairs = f", {found.num_pairs} pairs of answers so far" if found.release.state == "probation" else ""
        since = f"{found.release.updated_at:%Y-%m-%d %H:%M} UTC"
        lines.append(f"v{found.release.version} is in service, {state} since {since}{pairs}.")
    lines.append(f"{found.num_answers:,} answers in the last hour.")
    if found.round is not None:
        lines.append(f"Round {found.round.id} is open; its last step was: {found.round.step}.")
    lines += waits(found)
    told = [(alert, f"{alert.name}: {alert.summary}") for alert in found.alerts]
    lines += [f"{alert.state} · {alert.severity} · {words}" for alert, words in told if words not in lines]
    for line in lines:
        console.print(f"  {escape(line)}", highlight=False)
    table = Table("measure", "value", "baseline", "limit", "state", box=None)
    for sign in found.vitals:
        limits = ", ".join(bound(limit, sign.unit) for limit in sign.limits) or "none"
        state = STATES.get(sign.state, f"beyond its limit ({sign.state})")
        table.add_row(sign.title, said(sign.value, sign.unit), said(sign.baseline, sign.unit), limits, state)
    show_table(table)


def waits(found: "Status") -> list[str]:
    """What a person has to do, and by which command."""
    told = [f"v{version} waits for approval: omniloop models approve {version}" for version in found.waits.approvals]
    if found.waits.num_to_label:
        told.append(f"{found.waits.num_to_label:,} to label: omniloop labels export todo.jsonl")
    if found.waits.num_contested:
        told.append(f"{found.waits.num_contested:,} disagreements to settle: omniloop labels disagreements")
    if found.waits.num_requests:
        told.append(f"{found.waits.num_requests:,} requests for a round wait: omniloop retrain")
    return told


def bound(limit: "Limit", unit: str) -> str:
    """A limit in words."""
    return f"{'at most' if limit.side == 'upper' else 'at least'} {said(limit.bound, unit)}"


def said(value: float | None, unit: str) -> str:
    """A value with its unit; shares as per cent, short times in milliseconds.

    >>> said(0.913, "fraction"), said(0.0487, "s"), said(None, "s"), said(12.0, "bits")
    ('91.3 %', '48.7 ms', '–', '12 bits')
    """
    if value is None:
        return "–"
    if unit == "fraction":
        return f"{100 * value:.1f} %"
    if unit == "s":
        return f"{1000 * value:.1f} ms" if value < 1 else f"{value:.2f} s"
    return f"{value:.3g} {unit}".strip()
