"""What the queries share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Delete, Insert, Select, Table, Update, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from db.models import Base, ServingRow

R = TypeVar("R")
T = TypeVar("T")

CHUNK_ROWS = 5_000
"""Rows sent to the database at once."""

MANY_IDS = 5_000
"""Ids in one IN list; SQLite and PostgreSQL both take that many parameters."""


def table_of(row_class: type[Base]) -> Table:
    """The table behind a class."""
    table = row_class.__table__
    assert isinstance(table, Table)
    return table


def rows_of(row_class: type[Base]) -> Select[Any]:
    """Select all columns, without making objects that track changes."""
    return select(*table_of(row_class).columns)


def fetch_all(session: Session, record: type[R], statement: Select[Any]) -> list[R]:
    """The rows as records; the selected columns are the record's fields."""
    return [record(**row) for row in session.execute(statement).mappings()]


def fetch_one(session: Session, record: type[R], statement: Select[Any]) -> R | None:
    """The first row as a record, or None."""
    row = session.execute(statement.limit(1)).mappings().first()
    return None if row is None else record(**row)


def insert_into(session: Session, row_class: type[Base]) -> postgresql.Insert | sqlite.Insert:
    """An insert that knows ON CONFLICT, in the session's dialect."""
    make = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    return make(table_of(row_class))


def insert_new(session: Session, row_class: type[Base], rows: Iterable[dict[str, Any]]) -> int:
    """Insert the rows that break no unique rule, in chunks; returns how many were new. A stream is never held whole."""
    statement = insert_into(session, row_class).on_conflict_do_nothing()
    return sum(write(session, statement, chunk) for chunk in in_chunks(rows, CHUNK_ROWS))


def write(session: Session, statement: Insert | Update | Delete, rows: list[dict[str, Any]] | None = None) -> int:
    """Run a statement that writes, once or for each of the rows; returns how many rows of the table it touched."""
    result = session.execute(statement, rows, execution_options=_COUNTED)
    assert isinstance(result, CursorResult)
    return result.rowcount


_COUNTED = {"preserve_rowcount": True, "synchronize_session": False}


def in_chunks(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """The values in lists of at most `size`; none for no values.

    >>> list(in_chunks("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk


def hold_the_loop(session: Session) -> None:
    """Wait until no other transaction moves anything in the loop, and keep others waiting until this one ends."""
    session.execute(select(ServingRow.id).where(ServingRow.id == 1).with_for_update())


def listed(names: Sequence[str]) -> str:
    """Names for a message.

    >>> listed(["a", "b"]), listed([])
    ('a, b', 'none')
    """
    return ", ".join(names) or "none"
