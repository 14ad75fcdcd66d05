"""The clients' keys: created, listed, revoked. Only hashes are kept, and no row is ever deleted."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from db.errors import IllegalMove, NotFound
from db.models import KeyRow
from db.records.keys import NewKey, StoredKey
from db.repository import audit
from db.repository.common import fetch_all, fetch_one, insert_into, rows_of, write


def add_key(session: Session, key: NewKey, *, who: str, now: datetime) -> StoredKey:
    """Remember a key. `IllegalMove` if the name is taken, by a revoked key too: the audit trail knows keys by name."""
    values = {
        "name": key.name,
        "prefix": key.prefix,
        "digest": key.digest,
        "scopes": list(key.scopes),
        "detail": dict(key.detail),
        "created_at": now,
        "created_by": who,
    }
    if not write(session, insert_into(session, KeyRow).on_conflict_do_nothing().values(**values)):
        raise IllegalMove(f"There is a key named {key.name!r} already, perhaps a revoked one. Choose another name.")
    numbers = {"prefix": key.prefix, "scopes": list(key.scopes), **key.detail}
    audit.add(session, who=who, action="create", subject="key", subject_id=key.name, numbers=numbers, now=now)
    return get_key(session, key.name)


def get_key(session: Session, name: str) -> StoredKey:
    """The key of this name; `NotFound` if there is none."""
    found = fetch_one(session, StoredKey, rows_of(KeyRow).where(KeyRow.name == name))
    if found is None:
        raise NotFound(f"There is no key named {name!r}. List them with `omniloop keys list`.")
    return found


def list_keys(session: Session) -> list[StoredKey]:
    """Every key that was ever created, the oldest first, revoked ones too."""
    return fetch_all(session, StoredKey, rows_of(KeyRow).order_by(KeyRow.id))


def revoke_key(session: Session, name: str, *, who: str, why: str = "", now: datetime) -> bool:
    """Let a key open nothing any more; False, and nothing changes, if it is revoked already. `NotFound`."""
    get_key(session, name)
    open_key = update(KeyRow).where(KeyRow.name == name, KeyRow.revoked_at.is_(None))
    if not write(session, open_key.values(revoked_at=now, revoked_by=who)):
        return False
    audit.add(session, who=who, action="revoke", subject="key", subject_id=name, why=why, now=now)
    return True
