"""From a JSON object or a Parquet row to a `ManifestRow`: every field checked, because nobody else will."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from omni_model.data.errors import RowError
from omni_model.data.rows import ManifestRow, Ref

FIELDS = {"id": 512, "task": 256, "instruction": 10_000, "item": 512, "source": 512, "domain": 512, "answer": 10_000}
"""Text columns and the most characters of each. `time` comes beside them; every other column is a modality."""

RAW_CHARACTERS = 2_000
"""How much of a broken row is kept to show what was found."""


def row_from(raw: Mapping[str, Any], line: int) -> ManifestRow:
    """Raises `RowError` for a missing id or task, a value of the wrong type, a time without offset."""
    text = {name: _text(name, raw.get(name), most) for name, most in FIELDS.items()}
    for name in ("id", "task"):
        if not text[name]:
            raise RowError(f"The row has no {name}. Every row needs an id and a task.")
    return ManifestRow(
        line=line,
        id=text["id"] or "",
        task=text["task"] or "",
        instruction=text["instruction"] or "",
        item=text["item"] or "",
        source=text["source"] or "",
        domain=text["domain"] or "",
        answer=text["answer"],
        time=_time(raw.get("time")),
        inputs={
            name: _ref(name, value)
            for name, value in raw.items()
            if name not in FIELDS and name != "time" and value is not None
        },
    )


def id_of(raw: Mapping[str, Any]) -> str | None:
    """The id of a row that is broken elsewhere."""
    found = raw.get("id")
    return found[:512] if isinstance(found, str) and found and found.isprintable() else None


def _text(name: str, value: Any, most: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise RowError(f"{name} must be text, got {_shown(value)}. Put it in quotes.")
    if len(value) > most:
        raise RowError(f"{name} has {len(value):,} characters, more than the {most:,} allowed. Shorten it.")
    if "\0" in value or not _is_unicode(value):
        raise RowError(f"{name} holds a NUL or half a surrogate pair: {_shown(value)}. Remove it.")
    return value


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        time = None
    if not isinstance(time, datetime) or time.utcoffset() is None:
        raise RowError(f"time must be ISO 8601 with its offset, got {_shown(value)}. Write e.g. 2026-03-01T12:00:00Z.")
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise RowError(f"time is outside the calendar in UTC: {_shown(value)}. Correct it.") from error


def _ref(modality: str, value: Any) -> Ref:
    """A plain text is the content of the modality text, and a path or URI for every other modality."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return _content(modality, value) if modality == "text" else _location(modality, value)
    if isinstance(value, Mapping):
        given = {key: entry for key, entry in value.items() if entry is not None}
        if len(given) == 1 and isinstance(entry := next(iter(given.values())), str):
            match next(iter(given)):
                case "path" | "uri":
                    return _location(modality, entry)
                case "base64":
                    return _unpacked(modality, entry)
                case "text":
                    return _content(modality, entry)
    raise RowError(
        f"{modality} must be a path or URI in quotes, or one of {{path}}, {{uri}}, {{base64}}, {{text}}; "
        f"got {_shown(value)}. If {modality} is no modality, remove it."
    )


def _location(modality: str, value: str) -> str:
    if not value or "\0" in value or not _is_unicode(value) or len(value) > 4096:
        raise RowError(
            f"{modality}: {_shown(value)} is no path or URI. Give the file's path, relative to the manifest."
        )
    return value


def _content(modality: str, value: str) -> bytes:
    if not _is_unicode(value):
        raise RowError(f"{modality} holds half a surrogate pair, which no UTF-8 can express. Replace it.")
    return value.encode("utf-8")


def _unpacked(modality: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RowError(f"{modality}: the base64 content is damaged: {error}. Encode the file again.") from error


def _is_unicode(value: str) -> bool:
    """False for a text with half a surrogate pair, which JSON's escapes can smuggle in and no database stores."""
    if value.isascii():
        return True
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
