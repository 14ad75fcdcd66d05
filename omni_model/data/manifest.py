"""Read a manifest, JSONL or Parquet, row by row in bounded memory, from any row on.

Every row of the file comes out, in order, as a `ManifestRow` or as a `RowFault`; one broken row costs no other.
Unreadable as a whole (no such file, not Parquet) raises, since there are no rows to speak of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from omni_model.data.errors import RowError
from omni_model.data.fields import RAW_CHARACTERS, id_of, row_from
from omni_model.data.rows import ManifestRow, RowFault

__all__ = ["ManifestRow", "RowFault", "read_manifest"]

MAX_LINE_BYTES = 96 * 2**20
"""Of a JSONL line; inline content of 64 MiB fits in base64."""


def read_manifest(path: str | Path, *, start: int = 0) -> Iterator[ManifestRow | RowFault]:
    """The rows after the first `start` ones; `start=row.line` goes on after a row seen before.

    Blank lines of JSONL are counted and passed over. Raises `FileNotFoundError` and, for a suffix other than
    `.jsonl`, `.ndjson` or `.parquet`, `ValueError`.
    """
    path = Path(path)
    if start < 0:
        raise ValueError(f"start must be at least 0, got {start}. Pass the number of rows that are done.")
    if not path.is_file():
        raise FileNotFoundError(f"No manifest at {path}. Correct the path.")
    if path.suffix in (".jsonl", ".ndjson"):
        return _read_jsonl(path, start)
    if path.suffix == ".parquet":
        from omni_model.data.parquet import read_parquet

        return read_parquet(path, start)
    raise ValueError(f"A manifest is named .jsonl or .parquet, got {path.name}. Convert or rename it.")


def _read_jsonl(path: Path, start: int) -> Iterator[ManifestRow | RowFault]:
    with path.open("rb") as file:
        for line, raw in enumerate(_lines(file), start=1):
            if line > start and (raw is None or raw.strip()):
                yield _too_long(line) if raw is None else parse_line(raw, line)


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Lines without ever holding one that is longer than allowed; None stands for such a line."""
    while raw := file.readline(MAX_LINE_BYTES):
        if raw.endswith(b"\n") or len(raw) < MAX_LINE_BYTES:
            yield raw
            continue
        while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
            pass
        yield None


def parse_line(raw: bytes, line: int) -> ManifestRow | RowFault:
    """One line of JSONL.

    >>> parse_line(b'{"id": "a", "task": "digit", "text": "two"}', 1).inputs
    {'text': b'two'}
    >>> parse_line(b'{"id": "a"}', 2).reason
    'The row has no task. Every row needs an id and a task.'
    """
    shown = raw[: 4 * RAW_CHARACTERS].decode("utf-8", errors="backslashreplace").strip()[:RAW_CHARACTERS]
    fields: Mapping[str, Any] = {}
    try:
        fields = _object(raw)
        return row_from(fields, line)
    except RowError as error:
        return RowFault(line=line, id=id_of(fields), reason=str(error), raw=shown)


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RowError(
            f"The line is not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start}. "
            "Save the manifest as UTF-8."
        ) from error
    try:
        found = json.loads(text, object_pairs_hook=_unique)
    except RecursionError as error:
        raise RowError("The line is nested too deeply. Write one flat JSON object a line.") from error
    except RowError:
        raise
    except ValueError as error:
        raise RowError(f"The line is no JSON: {error}. Write one JSON object a line.") from error
    if not isinstance(found, dict):
        raise RowError(f"The line holds a {type(found).__name__}, not an object. Write one JSON object a line.")
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise RowError(f"The key {max(names, key=names.count)!r} occurs twice in one object. Keep one of them.")
    return found


def _too_long(line: int) -> RowFault:
    reason = f"The line has more than {MAX_LINE_BYTES:,} bytes. Put large content into files and name them by path."
    return RowFault(line=line, id=None, reason=reason)
