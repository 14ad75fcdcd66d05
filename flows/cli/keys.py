"""Keys to the service: create, list, revoke."""

from typing import Annotated

import typer
from rich.table import Column, Table

from flows.cli.common import console, person, show_table, workspace

app = typer.Typer(help="Keys of the service's clients: create, list, revoke.", no_args_is_help=True)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="Who uses it; unique for good.")],
    scope: Annotated[list[str], typer.Option(help="predict, feedback, operate, approve or admin; several are fine.")],
    budget: Annotated[
        float | None, typer.Option(help="Share of the full cost that each of its answers may have, 0-1.")
    ] = None,
    who: Annotated[str, typer.Option(help="Your name in the audit trail.")] = "",
) -> None:
    """Make a key and show it, this once: only its hash is kept. The first key closes the service to everybody else."""
    from db.keys import new_key
    from db.repository import keys

    key, kept = new_key(name, tuple(dict.fromkeys(scope)), budget=budget)
    with workspace() as ws, ws.database.write() as session:
        keys.add_key(session, kept, who=who or person(), now=ws.clock())
    typer.echo(key)


@app.command("list")
def list_() -> None:
    """Every key: its name, first characters, scopes, and whether it was revoked. No key itself: nobody knows them."""
    from db.repository import keys

    with workspace() as ws, ws.database.read() as session:
        stored = keys.list_keys(session)
    if not stored:
        console.print("There is no key: on its own machine the service answers everybody.")
        return
    table = Table("name", Column("begins with", no_wrap=True), "scopes", "budget", "created (UTC)", "revoked (UTC)")
    for key in stored:
        revoked = "–" if key.revoked_at is None else f"{key.revoked_at:%Y-%m-%d %H:%M:%S} by {key.revoked_by}"
        budget = key.detail.get("budget")
        table.add_row(
            key.name,
            f"omni_{key.prefix}",
            ", ".join(key.scopes),
            "–" if budget is None else f"{budget:g}",
            f"{key.created_at:%Y-%m-%d %H:%M:%S} by {key.created_by}",
            revoked,
        )
    show_table(table)


@app.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="The key's name.")],
    why: Annotated[str, typer.Option(help="Your reason; goes into the audit trail.")] = "",
    who: Annotated[str, typer.Option(help="Your name in the audit trail.")] = "",
) -> None:
    """Let a key open nothing any more; a running service knows within a second."""
    from db.repository import keys

    with workspace() as ws, ws.database.write() as session:
        is_new = keys.revoke_key(session, name, who=who or person(), why=why, now=ws.clock())
    console.print(f"{name} is revoked." if is_new else f"{name} was revoked before.", highlight=False)
