"""The people who use the dashboard: let in, given a role, sent a link, shut out."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from flows.cli.common import console, person, show_table, workspace

app = typer.Typer(help="People who use the dashboard: add, list, link, role, password, disable.", no_args_is_help=True)

if TYPE_CHECKING:
    from flows.workspace import Workspace

Name = Annotated[str, typer.Argument(help="The person's name.")]
Who = Annotated[str, typer.Option(help="Your name in the audit trail; default: you.")]
Why = Annotated[str, typer.Option(help="Your reason; goes into the audit trail.")]


@app.command("add")
def add(
    name: Name,
    role: Annotated[str, typer.Option(help="viewer, labeller, operator, approver or admin.")] = "viewer",
    who: Who = "",
) -> None:
    """Let a person in, and print the link by which they sign in, once."""
    from db.repository import users

    with workspace() as ws:
        with ws.database.write() as session:
            made = users.add_user(session, name, role, who=who or person(), now=ws.clock())
        console.print(f"{made.name} is {made.role}. The link is good once, for whoever has it:", highlight=False)
        typer.echo(_link(ws, made.name))


@app.command("list")
def list_() -> None:
    """Everybody who may sign in, and as what."""
    from db.repository import users

    with workspace() as ws, ws.database.read() as session:
        known = users.list_users(session)
    if not known:
        console.print("Nobody yet. `omniloop up` lets its owner in; `omniloop users add NAME` lets others in.")
        return
    table = Table("name", "role", "password", "since (UTC)", "shut out (UTC)")
    for user in known:
        out = f"{user.disabled_at:%Y-%m-%d %H:%M:%S}" if user.disabled_at else "–"
        since = f"{user.created_at:%Y-%m-%d %H:%M:%S} by {user.created_by}"
        table.add_row(user.name, user.role, "yes" if user.password else "no", since, out)
    show_table(table)


@app.command("link")
def link(name: Annotated[str, typer.Argument(help="The person's name.")] = "owner") -> None:
    """Print a link that signs a person in, once."""
    from flows.pages import OWNER, owner

    with workspace() as ws:
        if name == OWNER:
            owner(ws)
        typer.echo(_link(ws, name))


@app.command("role")
def role(
    name: Name,
    role: Annotated[str, typer.Argument(help="viewer, labeller, operator, approver or admin.")],
    who: Who = "",
) -> None:
    """Let a person do more or less, from the next request on."""
    from db.repository import users

    with workspace() as ws, ws.database.write() as session:
        user = users.set_role(session, name, role, who=who or person(), now=ws.clock())
    console.print(f"{user.name} is {user.role}.", highlight=False)


@app.command("password")
def password(
    name: Name,
    remove: Annotated[bool, typer.Option("--remove", help="Let only links in.")] = False,
    who: Who = "",
) -> None:
    """Set a person's password, asked for at the terminal; it ends their sessions."""
    from argon2 import PasswordHasher

    from db.repository import users

    hashed = None
    if not remove:
        chosen = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        if len(chosen) < 12:
            raise ValueError(f"A password has 12 characters or more, got {len(chosen)}. Take a longer one.")
        hashed = PasswordHasher().hash(chosen)
    with workspace() as ws, ws.database.write() as session:
        users.set_password(session, name, hashed, who=who or person(), now=ws.clock())
    console.print(f"{name} signs in {'by links alone' if remove else 'with the new password'}.", highlight=False)


@app.command("disable")
def disable(name: Name, why: Why = "", who: Who = "") -> None:
    """Shut a person out: sessions end, links open nothing."""
    from db.repository import users

    with workspace() as ws, ws.database.write() as session:
        users.disable_user(session, name, who=who or person(), why=why, now=ws.clock())
    console.print(f"{name} is shut out.", highlight=False)


@app.command("enable")
def enable(name: Name, why: Why = "", who: Who = "") -> None:
    """Let a person who was shut out in again."""
    from db.repository import users

    with workspace() as ws, ws.database.write() as session:
        users.enable_user(session, name, who=who or person(), why=why, now=ws.clock())
    console.print(f"{name} may sign in again.", highlight=False)


def _link(ws: "Workspace", name: str) -> str:
    from flows.pages import sign_in_link, usual_address

    return sign_in_link(ws, name, usual_address(ws.settings))
