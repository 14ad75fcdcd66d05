"""Alembic's entry. It runs on the connection that `db.migrate` opened, inside its transaction."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from db.models import Base
from db.models.base import BinaryText, CleanText, Json, Number, UtcDateTime

SPELLING = {
    UtcDateTime: "sa.DateTime(timezone=True)",
    Json: 'sa.JSON().with_variant(postgresql.JSONB(), "postgresql")',
    BinaryText: 'sa.Text().with_variant(sa.Text(collation="C"), "postgresql")',
    CleanText: "sa.Text()",
    Number: "sa.Double()",
}
"""How a new migration spells our column types: in SQLAlchemy's own, so that a landed one never changes its meaning."""


def spell(kind: str, item: Any, autogen: Any) -> str | Literal[False]:
    """The source text of a column type; False for Alembic's own choice."""
    if kind != "type" or type(item) not in SPELLING:
        return False
    if type(item) is Json:
        autogen.imports.add("from sqlalchemy.dialects import postgresql")
    return SPELLING[type(item)]


def run() -> None:
    """Run the migrations that Alembic asks for."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=Base.metadata,
        compare_type=True,
        render_as_batch=True,
        render_item=spell,
        transactional_ddl=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


if __name__ == "env_py":  # the name under which Alembic loads it; a plain import does nothing
    run()
