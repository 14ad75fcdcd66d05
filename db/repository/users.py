"""The people who use the pages: added, given roles, shut out; the links by which they come in, and their sessions.

Whoever holds a link or a session's token is let in, so only digests of them are kept.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from db.errors import IllegalMove, NotFound
from db.models import SignInLinkRow, UserRow, WebSessionRow
from db.records.users import ROLES, User, WebSession
from db.repository import audit
from db.repository.common import fetch_all, fetch_one, insert_into, rows_of, write

SEEN_EVERY = timedelta(minutes=1)
"""How exactly it is known when a session was last used."""
KEPT = timedelta(days=7)
"""How long links and sessions are kept after their end."""


def add_user(session: Session, name: str, role: str, *, who: str, now: datetime) -> User:
    """Let somebody in from now on. `IllegalMove` if the name is taken, `ValueError` for a name or role that is none."""
    name = name.strip()
    if not name or not name.isprintable() or len(name) > 60 or ":" in name:
        raise ValueError(f"A name is 1 to 60 printable characters without a colon, got {name[:80]!r}. Choose another.")
    _check_role(role)
    values = {"name": name, "role": role, "created_at": now, "created_by": who}
    if not write(session, insert_into(session, UserRow).on_conflict_do_nothing().values(**values)):
        raise IllegalMove(f"There is a person named {name!r} already. Choose another name.")
    audit.add(session, who=who, action="create", subject="user", subject_id=name, numbers={"role": role}, now=now)
    return get_user(session, name)


def get_user(session: Session, name: str) -> User:
    """The person of this name; `NotFound` if there is none."""
    found = fetch_one(session, User, rows_of(UserRow).where(UserRow.name == name))
    if found is None:
        raise NotFound(f"There is no person named {name!r}. List them with `omniloop users list`.")
    return found


def list_users(session: Session) -> list[User]:
    """Everybody who was ever let in, by name, those shut out too."""
    return fetch_all(session, User, rows_of(UserRow).order_by(UserRow.name))


def set_role(session: Session, name: str, role: str, *, who: str, why: str = "", now: datetime) -> User:
    """Let somebody do more or less from now on, in the sessions that are open too. `NotFound`, `ValueError`."""
    _check_role(role)
    before = get_user(session, name)
    write(session, update(UserRow).where(UserRow.name == name).values(role=role))
    numbers = {"from": before.role, "to": role}
    audit.add(session, who=who, action="set_role", subject="user", subject_id=name, why=why, numbers=numbers, now=now)
    return get_user(session, name)


def set_password(session: Session, name: str, hashed: str | None, *, who: str, now: datetime) -> None:
    """Remember the hash of a new password (None: no password), and end every session of this person. `NotFound`."""
    get_user(session, name)
    write(session, update(UserRow).where(UserRow.name == name).values(password=hashed))
    end_sessions(session, name, now=now)
    audit.add(session, who=who, action="set_password", subject="user", subject_id=name, now=now)


def disable_user(session: Session, name: str, *, who: str, why: str = "", now: datetime) -> None:
    """Shut somebody out: sessions end and links open nothing any more. `NotFound`."""
    get_user(session, name)
    write(session, update(UserRow).where(UserRow.name == name).values(disabled_at=now))
    end_sessions(session, name, now=now)
    audit.add(session, who=who, action="disable", subject="user", subject_id=name, why=why, now=now)


def enable_user(session: Session, name: str, *, who: str, why: str = "", now: datetime) -> None:
    """Let somebody who was shut out in again. `NotFound`."""
    get_user(session, name)
    write(session, update(UserRow).where(UserRow.name == name).values(disabled_at=None))
    audit.add(session, who=who, action="enable", subject="user", subject_id=name, why=why, now=now)


def add_link(session: Session, name: str, digest: str, *, expires_at: datetime, now: datetime) -> None:
    """Remember a link that signs this person in once, until it expires. `NotFound` without such a person."""
    get_user(session, name)
    values = {"digest": digest, "user": name, "created_at": now, "expires_at": expires_at}
    write(session, insert_into(session, SignInLinkRow).values(**values))


def link_user(session: Session, digest: str, *, now: datetime) -> User | None:
    """Whom a link would sign in; None for one that is unknown, used, expired, or of somebody shut out."""
    good = (SignInLinkRow.digest == digest, SignInLinkRow.used_at.is_(None), SignInLinkRow.expires_at > now)
    name = session.scalars(select(SignInLinkRow.user).where(*good)).first()
    user = None if name is None else get_user(session, name)
    return None if user is None or user.disabled_at is not None else user


def use_link(session: Session, digest: str, *, now: datetime) -> User | None:
    """Use a link up and say whom it signs in; of two at once, one is let in. None as in `link_user`."""
    user = link_user(session, digest, now=now)
    unused = update(SignInLinkRow).where(SignInLinkRow.digest == digest, SignInLinkRow.used_at.is_(None))
    return user if user is not None and write(session, unused.values(used_at=now)) else None


def open_session(session: Session, name: str, digest: str, *, expires_at: datetime, now: datetime) -> None:
    """Remember a browser in which somebody signed in; long ended sessions and links are forgotten meanwhile."""
    values = {"digest": digest, "user": name, "created_at": now, "seen_at": now, "expires_at": expires_at}
    write(session, insert_into(session, WebSessionRow).values(**values))
    write(session, delete(WebSessionRow).where(WebSessionRow.expires_at < now - KEPT))
    write(session, delete(SignInLinkRow).where(SignInLinkRow.expires_at < now - KEPT))
    audit.add(session, who=name, action="sign_in", subject="user", subject_id=name, now=now)


def session_user(session: Session, digest: str, *, now: datetime, idle: timedelta) -> tuple[User, WebSession] | None:
    """Who a session belongs to; None if it is unknown, ended, expired, unused for `idle`, or of somebody shut out."""
    alive = (WebSessionRow.ended_at.is_(None), WebSessionRow.expires_at > now, WebSessionRow.seen_at > now - idle)
    found = fetch_one(session, WebSession, rows_of(WebSessionRow).where(WebSessionRow.digest == digest, *alive))
    if found is None:
        return None
    user = get_user(session, found.user)
    return None if user.disabled_at is not None else (user, found)


def touch_session(session: Session, digest: str, *, now: datetime) -> None:
    """Note that a session is used."""
    write(session, update(WebSessionRow).where(WebSessionRow.digest == digest).values(seen_at=now))


def end_session(session: Session, digest: str, *, now: datetime) -> None:
    """Sign out in one browser."""
    write(session, update(WebSessionRow).where(WebSessionRow.digest == digest).values(ended_at=now))


def end_sessions(session: Session, name: str, *, now: datetime) -> None:
    """Sign somebody out everywhere, and let the links sent to them open nothing any more."""
    open_ones = update(WebSessionRow).where(WebSessionRow.user == name, WebSessionRow.ended_at.is_(None))
    write(session, open_ones.values(ended_at=now))
    unused = update(SignInLinkRow).where(SignInLinkRow.user == name, SignInLinkRow.used_at.is_(None))
    write(session, unused.values(used_at=now))


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise ValueError(f"There is no role {role!r}. Choose from {', '.join(ROLES)}.")
