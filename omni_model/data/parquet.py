"""The Parquet half of reading a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omni_model.data.errors import RowError
from omni_model.data.fields import RAW_CHARACTERS, id_of, row_from
from omni_model.data.rows import ManifestRow, RowFault

BATCH_ROWS = 64
BUFFER_BYTES = 2**20
"""Without a buffer, a whole column of a row group is held at once."""


def read_parquet(path: Path, start: int) -> Iterator[ManifestRow | RowFault]:
    """Rows from `start` on. A row group that cannot be read gives a fault for each of its rows; the others go on."""
    try:
        file = pq.ParquetFile(path, buffer_size=BUFFER_BYTES)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is no readable Parquet file: {error}. Write it again.") from error
    with file:
        first = 0
        for group in range(file.metadata.num_row_groups):
            num_rows = file.metadata.row_group(group).num_rows
            if first + num_rows > start:
                yield from _read_group(file, group, first, first + num_rows, start)
            first += num_rows


def _read_group(file: pq.ParquetFile, group: int, first: int, end: int, start: int) -> Iterator[ManifestRow | RowFault]:
    """Rows `start` to `end` of the file; the group begins at row `first`."""
    done = first
    try:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, row_groups=[group]):
            skip = max(start - done, 0)
            if skip < batch.num_rows:
                yield from _read_batch(_in_microseconds(batch.slice(skip)), done + skip + 1)
            done += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        reason = f"Row group {group} cannot be read: {str(error)[:200]}. Write the manifest again."
        for row in range(max(done, start), end):
            yield RowFault(line=row + 1, id=None, reason=reason)


def _in_microseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Nanoseconds would come out as objects of pandas."""
    columns = [
        column.cast(pa.timestamp("us", column.type.tz), safe=False) if pa.types.is_timestamp(column.type) else column
        for column in batch.columns
    ]
    return pa.record_batch(columns, names=batch.schema.names)


def _read_batch(batch: pa.RecordBatch, line: int) -> Iterator[ManifestRow | RowFault]:
    """The rows of a batch; its first is row `line` of the file."""
    try:
        rows = batch.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError):  # one cell is broken: find out which, row by row
        rows = [None] * batch.num_rows
    for place, fields in enumerate(rows):
        yield _parse(batch, place, line + place) if fields is None else _checked(fields, line + place)


def _parse(batch: pa.RecordBatch, place: int, line: int) -> ManifestRow | RowFault:
    fields: dict[str, Any] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            fields[name] = column[place].as_py()
        except (pa.ArrowException, ValueError, OverflowError) as error:
            return _fault(fields, line, f"{name} cannot be read: {error}. Write the row again.")
    return _checked(fields, line)


def _checked(fields: Mapping[str, Any], line: int) -> ManifestRow | RowFault:
    try:
        return row_from(fields, line)
    except RowError as error:
        return _fault(fields, line, str(error))


def _fault(fields: Mapping[str, Any], line: int, reason: str) -> RowFault:
    return RowFault(line=line, id=id_of(fields), reason=reason, raw=repr(fields)[:RAW_CHARACTERS])
