"""The Parquet half of reading a manifest."""

from __future__ import annotations

from collections.abc import Iterator
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
                yield from _read_group(file, group, first, first + num_rows, max(start, first))
            first += num_rows


def _read_group(file: pq.ParquetFile, group: int, first: int, end: int, start: int) -> Iterator[ManifestRow | RowFault]:
    """Rows `start` to `end` of the file; the group begins at row `first`."""
    done = first
    try:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, row_groups=[group]):
            for row in range(max(start - done, 0), batch.num_rows):
                yield _row(batch, row, done + row + 1)
            done += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        reason = f"Row group {group} cannot be read: {str(error)[:200]}. Write the manifest again."
        for row in range(max(done, start), end):
            yield RowFault(line=row + 1, id=None, reason=reason)


def _row(batch: pa.RecordBatch, row: int, line: int) -> ManifestRow | RowFault:
    fields: dict[str, Any] = {}
    try:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            fields[name] = _value(name, column, row)
        return row_from(fields, line)
    except RowError as error:
        return RowFault(line=line, id=id_of(fields), reason=str(error), raw=repr(fields)[:RAW_CHARACTERS])


def _value(name: str, column: pa.Array, row: int) -> Any:
    try:
        scalar = column[row]
        if pa.types.is_timestamp(scalar.type):  # nanoseconds would come as a pandas object
            scalar = scalar.cast(pa.timestamp("us", scalar.type.tz))
        return scalar.as_py()
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise RowError(f"{name} cannot be read: {error}. Write the row again.") from error
