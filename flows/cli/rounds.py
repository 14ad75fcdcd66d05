"""Rounds: what each did, and what the gate would say of it under other limits."""

import json
from dataclasses import replace
from typing import Annotated

import typer
from rich.table import Table

from flows.cli.common import console, person, show_table, workspace

app = typer.Typer(
    help="Rounds: list, show, judge again, cancel, lift a quarantine; requests for one that wait.", no_args_is_help=True
)
RoundId = Annotated[int, typer.Argument(help="The round's number.")]


@app.command("list")
def list_(limit: int = 50) -> None:
    """Rounds, the latest first."""
    from db.repository import rounds

    with workspace() as ws, ws.database.read() as session:
        known = rounds.list_rounds(session, limit=limit)
    table = Table("round", "trigger", "from", "step", "outcome", "labels asked for", "quarantined", "opened (UTC)")
    for row in known:
        filtered = row.outputs.get("filtered", {})
        asked = sum(filtered.get(f"num_{kind}", 0) for kind in ("selected", "control", "validation"))
        table.add_row(
            str(row.id),
            row.trigger,
            f"v{row.base_version}" if row.base_version else "–",
            row.step,
            (row.outcome or "open").replace("_", " "),
            str(asked),
            "yes" if row.quarantined_at else "no",
            f"{row.opened_at:%Y-%m-%d %H:%M:%S}",
        )
    show_table(table)


@app.command("show")
def show(round_id: RoundId) -> None:
    """Everything that each step of a round reported, as JSON."""
    from db.repository import rounds

    with workspace() as ws, ws.database.read() as session:
        row = rounds.get_round(session, round_id)
    told = {step: {k: v for k, v in outputs.items() if k != "fit"} for step, outputs in row.outputs.items()}
    typer.echo(json.dumps({"round": row.id, "trigger": row.trigger, "base_version": row.base_version} | told, indent=2))


@app.command("rejudge")
def rejudge(
    round_id: RoundId,
    max_relative_fall: Annotated[float, typer.Option(help="The limit to judge under, such as 0.02.")] = 0.05,
    confidence: Annotated[float, typer.Option(help="Confidence of each bound.")] = 0.95,
) -> None:
    """What the gate would have said of a past round under another limit. Nothing is moved."""
    from db.repository import rounds
    from flows.steps.deciding import rejudge as step

    with workspace() as ws:
        with ws.database.read() as session:
            row = rounds.get_round(session, round_id)
        config = replace(ws.settings.gate, max_relative_fall=max_relative_fall, confidence=confidence)
        verdict = step(ws, row, config)
    then = row.outputs.get("decided", {}).get("verdict", "nothing")
    console.print(
        f"Then: {then}. Under {max_relative_fall:.1%} at {confidence:.0%}: {verdict.decision}.", highlight=False
    )
    for reason in verdict.reasons[:10]:
        console.print(f"  {reason}", highlight=False)


@app.command("cancel")
def cancel(
    round_id: RoundId,
    why: Annotated[str, typer.Option(help="Why it is not wanted any more.")],
    who: Annotated[str, typer.Option(help="Your name in the audit trail.")] = "",
) -> None:
    """End an open round: a run that works on it stops, nothing of it is promoted, and given labels stay."""
    from flows.steps.cancelling import cancel_round

    with workspace() as ws:
        cancel_round(ws, round_id, who=who or person(), why=why)
    console.print(f"Round {round_id} is cancelled.", highlight=False)


@app.command("requests")
def requests() -> None:
    """Requests for a round that wait, the oldest first. The next round answers all of them."""
    from db.repository import triggers

    with workspace() as ws, ws.database.read() as session:
        waiting = triggers.pending(session)
    if not waiting:
        console.print("No request waits. `omniloop retrain` runs a round now.", highlight=False)
        return
    table = Table("request", "kind", "asked for", "last (UTC)", "who", "why")
    for entry in waiting:
        who, why = (str(entry.detail.get(name, "") or "–") for name in ("who", "why"))
        times = "once" if entry.num_requests == 1 else f"{entry.num_requests} times"
        table.add_row(str(entry.id), entry.kind, times, f"{entry.last_requested_at:%Y-%m-%d %H:%M:%S}", who, why)
    show_table(table)


@app.command("withdraw")
def withdraw(
    request_id: Annotated[int, typer.Argument(help="The request's number, as `omniloop rounds requests` shows it.")],
    why: Annotated[str, typer.Option(help="Why no round is wanted.")],
    who: Annotated[str, typer.Option(help="Your name in the audit trail.")] = "",
) -> None:
    """Take a request for a round back that waits. An open round goes on."""
    from db.repository import triggers

    with workspace() as ws, ws.database.write() as session:
        triggers.withdraw(session, request_id, who=who or person(), why=why, now=ws.clock())
    console.print(f"Request {request_id} is withdrawn.", highlight=False)


@app.command("lift-quarantine")
def lift_quarantine(
    round_id: RoundId,
    why: Annotated[str, typer.Option(help="Why its labels are good after all.")],
    who: Annotated[str, typer.Option(help="Your name in the audit trail.")] = "",
) -> None:
    """Let a round's labels count again."""
    from db.repository import rounds

    with workspace() as ws, ws.database.write() as session:
        rounds.lift_quarantine(session, round_id, who=who or person(), why=why, now=ws.clock())
    console.print(f"The labels of round {round_id} count again.", highlight=False)
