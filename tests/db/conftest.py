"""Every test that asks for `database` runs on SQLite and on PostgreSQL, each on a fresh copy of the migrated tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.engine import Database
from tests.db.servers import PostgresFactory, SqliteFactory

BOTH = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", id="postgresql", marks=pytest.mark.postgres),
]


@pytest.fixture(scope="session")
def sqlite_factory(tmp_path_factory: pytest.TempPathFactory) -> SqliteFactory:
    """Makes SQLite files."""
    return SqliteFactory(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def postgres_factory() -> Iterator[PostgresFactory]:
    """One PostgreSQL server for the whole run; makes databases in it."""
    factory = PostgresFactory()
    yield factory
    factory.stop()


@pytest.fixture(params=BOTH)
def factory(request: pytest.FixtureRequest) -> SqliteFactory | PostgresFactory:
    """Makes databases, of each kind in turn."""
    name = "sqlite_factory" if request.param == "sqlite" else "postgres_factory"
    found = request.getfixturevalue(name)
    assert isinstance(found, SqliteFactory | PostgresFactory)
    return found


@pytest.fixture
def url(factory: SqliteFactory | PostgresFactory) -> Iterator[str]:
    """The URL of a fresh database with all tables."""
    made = factory.migrated()
    yield made
    factory.drop(made)


@pytest.fixture
def empty_url(factory: SqliteFactory | PostgresFactory) -> Iterator[str]:
    """The URL of a fresh database without tables."""
    made = factory.empty()
    yield made
    factory.drop(made)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """A fresh database with all tables."""
    opened = Database(url)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_file(sqlite_factory: SqliteFactory) -> Path:
    """A fresh SQLite file with all tables, for what only a file can suffer."""
    return Path(sqlite_factory.migrated().removeprefix("sqlite:///"))
