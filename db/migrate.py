"""Migrations without a file to configure: up, down, where we are, and whether tables and code agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine

from db.connect import in_mode, make_engine
from db.errors import DatabaseUnavailable, SchemaMismatch
from db.models import Base

FOLDER = Path(__file__).parent / "migrations"

_ADVISORY_LOCK = 0x6F6D6E69  # "omni": one migration at a time on PostgreSQL


def upgrade(url: URL, *, busy_timeout_s: float = 30.0) -> None:
    """Run every migration that is missing, in one transaction."""

    def work(connection: Connection) -> None:
        _refuse_unknown(connection)
        command.upgrade(configuration(connection), "head")

    _in_one_transaction(url, work, busy_timeout_s)


def downgrade(url: URL, revision: str = "base", *, busy_timeout_s: float = 30.0) -> None:
    """Undo migrations down to the revision, in one transaction. `base` drops every table and all that is in them."""
    _in_one_transaction(url, lambda connection: command.downgrade(configuration(connection), revision), busy_timeout_s)


def write_revision(url: URL, message: str) -> None:
    """Write a new migration into the package from the differences between models and tables; edit it before landing."""

    def work(connection: Connection) -> None:
        command.revision(configuration(connection), message, autogenerate=True)

    _in_one_transaction(url, work, 30.0)


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration, for the given connection."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("file_template", "%%(year)d_%%(month).2d_%%(day).2d_%%(slug)s")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def heads() -> tuple[str, ...]:
    """The revisions that nothing follows; there is one."""
    return tuple(ScriptDirectory.from_config(configuration()).get_heads())


def current(connection: Connection) -> str | None:
    """The revision of the tables; None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def differences(connection: Connection) -> list[Any]:
    """What a new migration would have to do for the tables to match the models. Empty when all is well."""
    context = MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": Base.metadata})
    return list(compare_metadata(context, Base.metadata))


def check(engine: Engine) -> None:
    """Raise `SchemaMismatch` unless the tables are those of this code."""
    (head,) = heads()
    with in_mode(engine, "read").connect() as connection:
        revision = current(connection)
        _refuse_unknown(connection)
    if revision != head:
        raise SchemaMismatch(
            f"The tables are at {revision or 'nothing'}, the code wants {head}. Run `omniloop doctor`, or call "
            "Database.upgrade()."
        )


def _refuse_unknown(connection: Connection) -> None:
    revision = current(connection)
    known = {script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()}
    if revision is not None and revision not in known:
        raise SchemaMismatch(
            f"The tables are at {revision}, which this code does not know: a newer Omniloop made them. Upgrade it here."
        )


def _in_one_transaction(url: URL, work: Callable[[Connection], None], busy_timeout_s: float) -> None:
    engine = make_engine(url, busy_timeout_s=busy_timeout_s, for_migration=True)
    with in_mode(engine, "migrate").begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
        work(connection)
        if connection.dialect.name == "sqlite":
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            if broken:
                raise DatabaseUnavailable(
                    f"The migration would leave {len(broken)} rows pointing nowhere, the first is {broken[0]!r}. "
                    "Nothing was changed; restore the missing rows first."
                )
