"""The base class of the tables, the names of constraints, and the column types that behave alike on both databases.

There are no relationships: a query says what it reads, so nothing is ever loaded behind one's back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Double, Integer, MetaData, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeEngine

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

BigId = BigInteger().with_variant(Integer(), "sqlite")
"""A counted id. SQLite counts only in INTEGER PRIMARY KEY, which has 64 bits there anyway."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment. Goes in aware, comes out in UTC; a naive datetime is refused with `ValueError`."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"A moment needs a time zone, got {value!r}. Use datetime.now(UTC).")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class CleanText(TypeDecorator[str]):
    """Text that both databases can hold. PostgreSQL has no NUL and neither has lone surrogates: `ValueError`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is not None and not is_clean(value):
            raise ValueError(f"Text holds a NUL or a lone surrogate: {value[:80]!r}. Remove it.")
        return value


class BinaryText(CleanText):
    """Text that is sorted by its bytes on both databases, so that the same samples come in the same order."""

    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return Text(collation="C") if dialect.name == "postgresql" else Text()


class Json(TypeDecorator[Any]):
    """A JSON value: JSONB on PostgreSQL, text on SQLite. See `plain` for what happens to NaN."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return JSONB(none_as_null=True) if dialect.name == "postgresql" else JSON(none_as_null=True)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return plain(value)


class Number(TypeDecorator[float]):
    """A finite float; NaN and infinity become NULL on both databases, which means: not measured."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        return None if value is None or not math.isfinite(value) else float(value)


def is_clean(text: str) -> bool:
    """Whether text has neither NUL nor lone surrogates.

    >>> is_clean("né"), is_clean("a\\0b"), is_clean("\\ud800")
    (True, False, False)
    """
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def cleaned(text: str) -> str:
    """Text with what no database can hold replaced by U+FFFD or `?`. For what is kept to be looked at, not used.

    >>> cleaned("a\\0b\\ud800")
    'a\ufffdb?'
    """
    return text if is_clean(text) else text.replace("\0", "\ufffd").encode(errors="replace").decode()


def plain(value: Any) -> Any:
    """The same value as JSON can say it: mappings and sequences become dict and list, NaN and infinity None.

    >>> plain({"loss": float("nan"), "sizes": (1, 2)})
    {'loss': None, 'sizes': [1, 2]}
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):
        return cleaned(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {cleaned(str(key)): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in (sorted(value) if isinstance(value, set | frozenset) else value)]
    raise ValueError(f"{type(value).__name__} cannot be remembered as JSON: {value!r:.80}. Convert it to plain values.")


class Base(DeclarativeBase):
    """All tables."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        dict[str, Any]: Json(),
        list[str]: Json(),
        str: CleanText(),
        float: Number(),
    }
