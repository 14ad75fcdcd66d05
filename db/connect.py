"""From a URL to an engine whose transactions behave alike on SQLite and PostgreSQL.

Every transaction runs in a mode, given as the execution option `omniloop_mode`:

| mode    | SQLite                                        | PostgreSQL                         |
|---------|-----------------------------------------------|------------------------------------|
| read    | BEGIN, query_only: one consistent picture     | REPEATABLE READ, READ ONLY         |
| write   | BEGIN IMMEDIATE: one writer at a time         | READ COMMITTED with row locks      |
| migrate | BEGIN IMMEDIATE, foreign keys off meanwhile   | as write, under an advisory lock   |
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

MODE = "omniloop_mode"


def normalise(url: str) -> URL:
    """The URL with the driver that is installed. `ValueError` for what cannot hold the loop's memory.

    >>> normalise("postgresql://me@host/loop").drivername
    'postgresql+psycopg'
    >>> normalise("sqlite:///loop.db").drivername
    'sqlite+pysqlite'
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError(
            f"{url!r} is no database URL. Use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME."
        ) from error
    backend = parsed.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ValueError(
            f"The database must be SQLite or PostgreSQL, got {backend!r}. Use sqlite:/// or postgresql://."
        )
    if parsed.database in (None, "", ":memory:"):
        raise ValueError("An SQLite database in memory forgets everything. Name a file: sqlite:///PATH.")
    return parsed.set(drivername="sqlite+pysqlite")


def make_engine(url: URL, *, busy_timeout_s: float, for_migration: bool = False) -> Engine:
    """An engine with the modes above. A migration has connections of its own, closed after use."""
    pool: dict[str, Any] = (
        {"poolclass": NullPool} if for_migration else {"pool_pre_ping": url.get_backend_name() != "sqlite"}
    )
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": busy_timeout_s}, **pool)
        _prepare_sqlite(engine, busy_timeout_s=busy_timeout_s, foreign_keys=not for_migration)
    else:
        engine = create_engine(url, **pool)
        _prepare_postgres(engine, busy_timeout_s=busy_timeout_s)
    return engine


def in_mode(engine: Engine, mode: str) -> Engine:
    """The same engine and pool, with every transaction in the mode."""
    options: dict[str, Any] = {MODE: mode}
    if mode == "read" and engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    return engine.execution_options(**options)


def _prepare_sqlite(engine: Engine, *, busy_timeout_s: float, foreign_keys: bool) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves; the driver's own begins too late
        connection.execute(f"PRAGMA busy_timeout = {int(busy_timeout_s * 1000)}")
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # what is committed survives a power cut
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get(MODE, "read") == "read"
        connection.exec_driver_sql(f"PRAGMA query_only = {'ON' if reading else 'OFF'}")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _prepare_postgres(engine: Engine, *, busy_timeout_s: float) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        before = connection.autocommit
        connection.autocommit = True
        connection.execute(f"SET lock_timeout = {int(busy_timeout_s * 1000)}")
        connection.execute("SET timezone = 'UTC'")
        connection.autocommit = before
