"""Keys of clients: kept as hashes, named once, revoked for good."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from db.engine import Database
from db.errors import IllegalMove, NotFound
from db.records.keys import NewKey
from db.repository import audit, keys

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def new(name: str, digest: str = "aa") -> NewKey:
    return NewKey(name=name, prefix="1a2b3c4d", digest=digest, scopes=("predict",), detail={"budget": 0.5})


def test_a_key_comes_back_as_it_was_put(database: Database) -> None:
    with database.write() as session:
        stored = keys.add_key(session, new("app"), who="ann", now=NOW)
    with database.read() as session:
        assert keys.list_keys(session) == [stored]
        assert keys.get_key(session, "app") == stored
        trail = audit.history(session, subject="key", subject_id="app")
    assert (stored.scopes, stored.detail, stored.revoked_at) == (("predict",), {"budget": 0.5}, None)
    assert (stored.created_at, stored.created_by) == (NOW, "ann")
    assert [(entry.action, entry.who) for entry in trail] == [("create", "ann")]
    assert "aa" not in str(trail[0].numbers)


@pytest.mark.parametrize("second", [new("app", "bb"), new("other", "aa")])
def test_a_name_or_a_hash_that_is_taken_is_refused(database: Database, second: NewKey) -> None:
    with database.write() as session:
        keys.add_key(session, new("app"), who="ann", now=NOW)
    with pytest.raises(IllegalMove, match="Choose another name"), database.write() as session:
        keys.add_key(session, second, who="ann", now=NOW)
    with database.read() as session:
        assert len(keys.list_keys(session)) == 1


def test_a_key_is_revoked_once_and_keeps_its_name(database: Database) -> None:
    with database.write() as session:
        keys.add_key(session, new("app"), who="ann", now=NOW)
        assert keys.revoke_key(session, "app", who="bob", why="left", now=NOW)
        assert not keys.revoke_key(session, "app", who="eve", now=NOW)
        stored = keys.get_key(session, "app")
        assert (stored.revoked_at, stored.revoked_by) == (NOW, "bob")
        assert [entry.action for entry in audit.history(session, subject="key")] == ["create", "revoke"]
    with pytest.raises(IllegalMove), database.write() as session:
        keys.add_key(session, new("app", "cc"), who="ann", now=NOW)


def test_an_unknown_key_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound, match="omniloop keys list"), database.write() as session:
        keys.revoke_key(session, "nobody", who="ann", now=NOW)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scopes": ()}, "no scope"),
        ({"scopes": ("fly",)}, "no scope 'fly'"),
        ({"name": " "}, "needs a name"),
        ({"name": "a\nb"}, "needs a name"),
        ({"detail": {"budget": 2.0}}, "budget must lie in"),
        ({"detail": {"budget": float("nan")}}, "budget must lie in"),
    ],
)
def test_what_is_no_key_is_refused(changes: dict[str, object], said: str) -> None:
    values = {"name": "app", "prefix": "1a", "digest": "aa", "scopes": ("predict",), **changes}
    with pytest.raises(ValueError, match=said):
        NewKey(**values)  # type: ignore[arg-type]
