"""The people who use the pages: let in with a role and a one-time link, given another role, shut out."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Literal

from pydantic import Field
from sqlalchemy.orm import Session

from dashboards.pages import Action, Form, check_seen
from dashboards.site import Deed, Done, Site
from db.errors import IllegalMove
from db.keys import digest_of
from db.records.users import Role, User
from db.repository import audit, users

LINK_HOURS = 24.0
"""For how long a link is good where the settings do not say."""


class AddForm(Form):
    """Somebody to let in."""

    name: str = Field(min_length=1, max_length=60)
    role: Role
    why: str = ""


class PersonForm(Form):
    """Something done with one person."""

    name: str
    why: str = Field(min_length=1, max_length=300)
    seen: str


class RoleForm(PersonForm):
    """Another role."""

    role: Role


class DoorForm(PersonForm):
    """Shut out, or let in again."""

    door: Literal["out", "in"]


def add(deed: Deed, form: AddForm) -> Done:
    """Let somebody in; the answer shows the link, this once."""
    with deed.site.database.write() as session:
        users.add_user(session, form.name, form.role, who=deed.person.name, now=deed.now)
        link = linked(deed, session, form.name.strip())
    return Done(message=f"{form.name} is {form.role}. The link, shown this once: {link}", to="/settings")


def link(deed: Deed, form: PersonForm) -> Done:
    """Another link for somebody who is in; shown once."""
    with deed.site.database.write() as session:
        checked(session, form)
        if users.get_user(session, form.name).disabled_at is not None:
            raise IllegalMove(f"{form.name} is shut out, so a link would open nothing. Let them in again first.")
        made = linked(deed, session, form.name)
        audit.add(
            session,
            who=deed.person.name,
            action="link",
            subject="user",
            subject_id=form.name,
            why=form.why,
            now=deed.now,
        )
    return Done(message=f"A link for {form.name}, good once, shown this once: {made}", to="/settings")


def change_role(deed: Deed, form: RoleForm) -> Done:
    """Let somebody do more or less, from the next request on."""
    with deed.site.database.write() as session:
        checked(session, form)
        keep_an_admin(session, form.name, stays=form.role == "admin")
        users.set_role(session, form.name, form.role, who=deed.person.name, why=form.why, now=deed.now)
    return Done(message=f"{form.name} is {form.role}.", to="/settings")


def move_door(deed: Deed, form: DoorForm) -> Done:
    """Shut somebody out, or let them in again."""
    who, why, now = deed.person.name, form.why, deed.now
    with deed.site.database.write() as session:
        checked(session, form)
        if form.door == "out":
            keep_an_admin(session, form.name, stays=False)
            users.disable_user(session, form.name, who=who, why=why, now=now)
        else:
            users.enable_user(session, form.name, who=who, why=why, now=now)
    words = "is shut out: sessions have ended" if form.door == "out" else "may sign in again"
    return Done(message=f"{form.name} {words}.", to="/settings")


def standing(user: User) -> str:
    """What is decided on, in words that change when it does."""
    return f"{user.role}, {'shut out' if user.disabled_at else 'let in'}"


def checked(session: Session, form: PersonForm) -> None:
    """Refuse what was decided on a page that is out of date."""
    check_seen(form.seen, standing(users.get_user(session, form.name)))


def keep_an_admin(session: Session, name: str, *, stays: bool) -> None:
    """`IllegalMove` if nobody would be left who may do everything."""
    admins = [user.name for user in users.list_users(session) if user.role == "admin" and user.disabled_at is None]
    if admins == [name] and not stays:
        raise IllegalMove(f"{name} is the only admin. Make somebody else an admin first.")


def linked(deed: Deed, session: Session, name: str) -> str:
    """A link that signs somebody in once, at the address of these pages."""
    token = secrets.token_urlsafe(32)
    hours = float(deed.site.wiring.settings.get("dashboard", {}).get("link_hours", LINK_HOURS))
    users.add_link(session, name, digest_of(token), expires_at=deed.now + timedelta(hours=hours), now=deed.now)
    return f"{address(deed.site)}/sign-in?link={token}"


def address(site: Site) -> str:
    """Where browsers find these pages: the first name by which they may, else the host and port."""
    wiring = site.wiring
    if wiring.names:
        return f"{'https' if wiring.is_https else 'http'}://{wiring.names[0]}" + (
            "" if wiring.is_https else f":{wiring.port}"
        )
    host = "127.0.0.1" if wiring.host in ("0.0.0.0", "::") else wiring.host
    return f"http://{f'[{host}]' if ':' in host else host}:{wiring.port}"


PARTS = (
    Action(path="/settings/people/add", role="admin", form=AddForm, do=add),
    Action(path="/settings/people/link", role="admin", form=PersonForm, do=link),
    Action(path="/settings/people/role", role="admin", form=RoleForm, do=change_role),
    Action(path="/settings/people/door", role="admin", form=DoorForm, do=move_door),
)
