"""NumPy's `.npy`, read without pickle and without trusting the shape in its header."""

from __future__ import annotations

import io
import math

import numpy as np

from omni_model.data.codecs.base import foreign_parser
from omni_model.data.errors import DecodeError

MAGIC = b"\x93NUMPY"
MEND = "Write it with `numpy.save(file, array, allow_pickle=False)`."


def read_npy(data: bytes, *, max_values: int, limit: str) -> np.ndarray:
    """An array of numbers whose declared shape is exactly what the bytes hold. Raises `DecodeError`."""
    file = io.BytesIO(data)
    with foreign_parser("The npy file cannot be read", MEND):
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise DecodeError(f"The npy file has version {version}; 1.0 and 2.0 are read. {MEND}")
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read_header(file)
        _check(shape, dtype, num_bytes=len(data) - file.tell(), max_values=max_values, limit=limit)
        values = np.frombuffer(data, dtype=dtype, offset=file.tell())
        return values.reshape(shape, order="F" if fortran_order else "C")


def write_npy(array: np.ndarray) -> bytes:
    """The canonical bytes: C order, version 1.0."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def _check(shape: tuple[int, ...], dtype: np.dtype, *, num_bytes: int, max_values: int, limit: str) -> None:
    if dtype.kind not in "iuf" or dtype.hasobject or dtype.subdtype is not None:
        raise DecodeError(f"The npy file holds {dtype}, not real numbers. Convert it with `array.astype('float32')`.")
    if any(side < 0 for side in shape):
        raise DecodeError(f"The npy file declares the impossible shape {shape}. {MEND}")
    num_values = math.prod(shape)
    if num_values > max_values:
        raise DecodeError(
            f"The npy file has {num_values:,} values {shape}, more than the {max_values:,} allowed. "
            f"Shorten it, or raise the limit {limit}."
        )
    if num_values * dtype.itemsize != num_bytes:
        raise DecodeError(
            f"The npy file declares {shape} of {dtype}, {num_values * dtype.itemsize:,} bytes, but holds "
            f"{num_bytes:,}. It is truncated or damaged: copy it again from the original."
        )
