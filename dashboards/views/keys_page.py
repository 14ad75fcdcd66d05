"""Keys of the service's clients: created and shown once, revoked."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from dashboards.pages import Action, Form, check_seen
from dashboards.site import Deed, Done
from db.keys import new_key
from db.repository import keys

Several = Annotated[tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class NewKeyForm(Form):
    """A key to be made."""

    name: str = Field(min_length=1, max_length=60)
    scope: Several
    budget: Annotated[float | None, BeforeValidator(lambda value: None if value == "" else value)] = Field(
        default=None, ge=0, le=1
    )
    why: str = ""


class RevokeForm(Form):
    """A key that shall open nothing any more."""

    name: str
    why: str = Field(min_length=1, max_length=300)
    seen: str


def create(deed: Deed, form: NewKeyForm) -> Done:
    """Make a key; the answer shows it, this once."""
    key, kept = new_key(form.name, tuple(dict.fromkeys(form.scope)), budget=form.budget)
    with deed.site.database.write() as session:
        keys.add_key(session, kept, who=deed.person.name, now=deed.now)
    return Done(message=f"The key of {form.name}, shown this once: {key}", to="/settings")


def revoke(deed: Deed, form: RevokeForm) -> Done:
    """Let a key open nothing."""
    with deed.site.database.write() as session:
        check_seen(form.seen, "revoked" if keys.get_key(session, form.name).revoked_at else "in force")
        keys.revoke_key(session, form.name, who=deed.person.name, why=form.why, now=deed.now)
    return Done(message=f"{form.name} is revoked; a running service knows within a second.", to="/settings")


PARTS = (
    Action(path="/settings/keys/create", role="admin", form=NewKeyForm, do=create),
    Action(path="/settings/keys/revoke", role="admin", form=RevokeForm, do=revoke),
)
