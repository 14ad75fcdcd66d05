"""Sensor recordings: `.npy` or CSV, one row per time step and one column per channel."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from omni_model.data.codecs.base import LIMITS, CodecLimits, check_size, foreign_parser
from omni_model.data.codecs.npy import MAGIC, read_npy, write_npy
from omni_model.data.errors import DecodeError
from omni_model.sample import Value


@dataclass(frozen=True, kw_only=True)
class SensorCodec:
    """Multichannel sequences; the canonical form is float32 npy."""

    limits: CodecLimits = LIMITS
    modality: str = "sensor"
    suffix: str = ".npy"

    def decode(self, data: bytes) -> np.ndarray:
        """To `float32 [T, C]`; a single column may be given as `[T]`. CSV may have a line of names first."""
        check_size(data, self.limits, "sensor recording")
        table = self._npy(data) if data.startswith(MAGIC) else self._csv(data)
        return self._checked(table)

    def encode(self, value: Value) -> bytes:
        """`float32 [T, C]` to npy."""
        if not (isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype == np.float32):
            raise DecodeError("A sensor value must be float32 [T, C]. Convert it first.")
        return write_npy(self._checked(value))

    def _checked(self, table: np.ndarray) -> np.ndarray:
        steps, channels = table.shape
        if not (0 < steps <= self.limits.sensor_steps and 0 < channels <= self.limits.sensor_channels):
            raise DecodeError(
                f"The sensor recording has {steps:,} steps of {channels:,} channels; allowed are 1 to "
                f"{self.limits.sensor_steps:,} and 1 to {self.limits.sensor_channels:,}. Cut it into pieces, or raise "
                "the limits sensor_steps and sensor_channels."
            )
        with np.errstate(over="ignore"):
            values = table.astype(np.float32)
        broken = np.argwhere(~np.isfinite(values))
        if len(broken):
            step, channel = broken[0]
            raise DecodeError(
                f"The sensor recording has {len(broken):,} values that are not finite, the first, "
                f"{table[step, channel]}, at step {step}, channel {channel}. Interpolate or drop those steps."
            )
        return np.ascontiguousarray(values)

    def _npy(self, data: bytes) -> np.ndarray:
        array = read_npy(data, max_values=self.limits.sensor_values, limit="sensor_values")
        if array.ndim not in (1, 2):
            raise DecodeError(f"A sensor recording has the shape [T, C], got {list(array.shape)}. Reshape it first.")
        return array.reshape(len(array), -1) if array.size else np.zeros((0, 1), dtype=np.float32)

    def _csv(self, data: bytes) -> np.ndarray:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DecodeError(
                f"The sensor recording is neither npy nor UTF-8 CSV: byte 0x{data[error.start]:02x} at position "
                f"{error.start}. Save it as CSV in UTF-8, or as npy."
            ) from error
        with foreign_parser("The sensor CSV cannot be read", "Save it as plain CSV with decimal points."):
            head = text[: text.find("\n") % (len(text) + 1)]
            delimiter = _delimiter(head)
            if head.count(delimiter) >= self.limits.sensor_channels:  # before a list of as many cells is made
                raise DecodeError(
                    f"The sensor CSV has {head.count(delimiter) + 1:,} columns, more than the "
                    f"{self.limits.sensor_channels:,} allowed. Cut it into pieces, or raise the limit sensor_channels."
                )
            rows = csv.reader(_lines(data), delimiter=delimiter)
            first = next(rows, [])
            named = not any(_is_number(cell) for cell in first)
            numbered = enumerate(rows if named else chain([first], rows), start=2 if named else 1)
            values = np.fromiter(self._numbers(numbered, width=len(first)), dtype=np.float64)
        return values.reshape(-1, max(len(first), 1))

    def _numbers(self, numbered: Iterable[tuple[int, list[str]]], *, width: int) -> Iterator[float]:
        """All cells, row by row; empty rows are passed over."""
        num_values = 0
        for number, row in numbered:
            num_values += max(width, 1)
            if num_values > self.limits.sensor_values:
                limit = f"{self.limits.sensor_values:,}"
                raise DecodeError(f"The sensor CSV has more than {limit} values. Cut it into pieces.")
            if row and len(row) != width:
                raise DecodeError(
                    f"Row {number} of the sensor CSV has {len(row)} columns, the first has {width}. Mend it."
                )
            for column, cell in enumerate(row, start=1):
                if not _is_number(cell):
                    raise DecodeError(
                        f"Row {number}, column {column} of the sensor CSV is no number: {cell[:40]!r}. "
                        "Fill it in or drop the row."
                    )
                yield float(cell)


def _lines(data: bytes) -> Iterator[str]:
    """The lines of UTF-8, decoded a few at a time: all at once, each character would take four bytes."""
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")


def _delimiter(line: str) -> str:
    """The first of tab, semicolon, comma that occurs."""
    return next((mark for mark in "\t;" if mark in line), ",")


def _is_number(cell: str) -> bool:
    """
    >>> _is_number("-1.5e3"), _is_number("nan"), _is_number("1_000"), _is_number("")
    (True, True, False, False)
    """
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
