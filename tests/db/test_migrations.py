"""Migrations: up, down and up again; tables and models agree; a newer database is left alone."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import op
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from db import migrate
from db.connect import in_mode, make_engine, normalise
from db.engine import Database
from db.errors import DatabaseUnavailable, SchemaMismatch
from db.models import Base
from db.repository import audit, releases
from tests.db.builders import NOW, accepted

ROOT = Path(__file__).parents[2]


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = make_engine(normalise(url), busy_timeout_s=5, for_migration=True)
    with in_mode(engine, "write").begin() as connection:
        yield connection


def tables(url: str) -> set[str]:
    with connected(url) as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


@pytest.fixture
def own_url(empty_url: str) -> str:
    """A database with all tables that a test may spoil."""
    migrate.upgrade(normalise(empty_url))
    return empty_url


def test_up_down_and_up_again_gives_the_same_tables(empty_url: str) -> None:
    database = Database(empty_url)
    for _ in range(2):
        database.upgrade()
        database.upgrade()
        database.check()
        assert tables(empty_url) == set(Base.metadata.tables)
        with database.write() as session:
            assert accepted(session).version == 1
        migrate.downgrade(normalise(empty_url))
        assert tables(empty_url) == set()
        with connected(empty_url) as connection:
            left = "SELECT proname FROM pg_proc WHERE proname LIKE '%audit%'"
            assert connection.dialect.name == "sqlite" or connection.execute(text(left)).all() == []
    database.close()


def test_models_and_migrations_agree(url: str) -> None:
    with connected(url) as connection:
        assert migrate.differences(connection) == []


def test_a_difference_would_be_noticed(own_url: str) -> None:
    with connected(own_url) as connection:
        connection.execute(text("ALTER TABLE tasks ADD COLUMN extra TEXT"))
        connection.execute(text("DROP INDEX uq_releases_one_on_probation"))
        assert len(migrate.differences(connection)) == 2


def test_there_is_one_head_and_every_migration_is_dated() -> None:
    assert len(migrate.heads()) == 1
    files = sorted(path.stem for path in (migrate.FOLDER / "versions").glob("*.py"))
    assert files
    for name in files:
        assert re.fullmatch(r"\d{4}_\d\d_\d\d_[a-z0-9_]+", name)
        assert len(name) <= 32, "alembic keeps 32 characters"
        assert f'revision = "{name}"' in (migrate.FOLDER / "versions" / f"{name}.py").read_text()


def test_a_newer_database_is_left_alone(own_url: str) -> None:
    with connected(own_url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '2999_01_01_future'"))
    database = Database(own_url)
    for call in (database.check, database.upgrade):
        with pytest.raises(SchemaMismatch, match=r"2999_01_01_future.*newer"):
            call()
    database.close()


def test_a_migration_that_fails_leaves_nothing(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(op, "execute", fail)  # the first one stands after every table was made
        with pytest.raises(RuntimeError, match="killed"):
            migrate.upgrade(normalise(empty_url))
    with connected(empty_url) as connection:
        assert inspect(connection).get_table_names() == []
    migrate.upgrade(normalise(empty_url))
    assert tables(empty_url) == set(Base.metadata.tables)


def test_a_migration_that_would_orphan_rows_is_refused(sqlite_file: Path) -> None:
    url = f"sqlite:///{sqlite_file}"
    with connected(url) as connection:
        connection.execute(text("INSERT INTO feedback VALUES ('nobody', '0', 'x', '2026-01-01')"))
    with pytest.raises(DatabaseUnavailable, match="1 rows pointing nowhere"):
        migrate.upgrade(normalise(url))


def test_two_processes_may_upgrade_at_once(empty_url: str) -> None:
    code = "import sys; from db.engine import Database; Database(sys.argv[1]).upgrade()"
    started = [
        subprocess.Popen([sys.executable, "-c", code, empty_url], cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    assert tables(empty_url) == set(Base.metadata.tables)
    with connected(empty_url) as connection:
        assert connection.execute(text("SELECT count(*) FROM serving")).scalar_one() == 1


@pytest.mark.parametrize("statement", ["UPDATE audit SET why = 'never mind'", "DELETE FROM audit"])
def test_the_audit_trail_cannot_be_rewritten(database: Database, statement: str) -> None:
    with database.write() as session:
        accepted(session)
    with pytest.raises(DBAPIError, match="audit is append-only"), database.write() as session:
        session.execute(text(statement))
    with database.read() as session:
        assert [entry.why for entry in audit.history(session, version=1)] == ["", "first"]


def test_the_database_itself_refuses_two_on_probation_and_unknown_states(database: Database) -> None:
    def insert(*states: str) -> None:
        row = "INSERT INTO releases (version, state, digest, metrics, created_at, updated_at) VALUES "
        when = f"'{NOW:%Y-%m-%d %H:%M:%S}'"
        with database.write() as session:
            for version, state in enumerate(states):
                session.execute(text(f"{row} ({version}, '{state}', 'd', '1', {when}, {when})"))

    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        insert("probation", "probation")
    with pytest.raises(ValueError, match=r"none of those allowed.*ck_releases_state"):
        insert("limbo")
    with database.read() as session:
        assert releases.history(session) == []
