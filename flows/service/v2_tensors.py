"""Tensors of the Open Inference Protocol to rows of bytes and back, as JSON or by its binary extension.

By the extension a body is JSON, whose length a header tells, and after it the bytes of the tensors in order. An element
of a BYTES tensor is its length in four bytes, little-endian, and itself.
"""

import base64
import binascii
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flows.service.faults import Fault, shown, too_many
from flows.service.reading import check_commas
from flows.service.v2_forms import InferIn, TensorIn
from flows.service.wire import as_json

HEADER = "Inference-Header-Content-Length"
PACKED = {"FP32": "f", "INT64": "q"}


@dataclass(frozen=True, kw_only=True)
class Column:
    """An output: one value a row, or one list of equal length a row."""

    name: str
    datatype: str
    values: Sequence[Any]
    parameters: dict[str, str | int | float | bool]

    @property
    def shape(self) -> list[int]:
        """[rows] or [rows, width]."""
        first = self.values[0]
        return [len(self.values), len(first)] if isinstance(first, list) else [len(self.values)]


def parse_infer(body: bytes, header: str, max_rows: int) -> tuple[InferIn, dict[str, list[bytes]]]:
    """The request and its tensors by name, one element a row. Raises :class:`Fault` or pydantic's error; of more than
    `max_rows` elements none is built.
    """
    if header and not (header.isdecimal() and len(header) < 12 and int(header) <= len(body)):
        raise Fault(422, f"{HEADER} does not fit the body.", shown(header), "Send the length of the JSON in bytes.")
    length = int(header) if header else len(body)
    check_commas(body[:length], max_rows)
    asked = InferIn.model_validate_json(body[:length])
    check_outputs(asked)
    at, found = length, {}
    for tensor in asked.inputs:
        if tensor.name in found:
            raise Fault(422, f"Two inputs are named {tensor.name!r}.", shown(tensor.name), "Send one tensor for each.")
        size = tensor.parameters.get("binary_data_size")
        if type(size) is int and 0 <= size <= len(body) - at:
            found[tensor.name] = unpacked(tensor, body[at : at + size], max_rows)
            at += size
        elif size is None:
            found[tensor.name] = listed(tensor, max_rows)
        else:
            fact = f"Input {tensor.name} has not the bytes that it announces."
            raise Fault(422, fact, shown(size), "Send binary_data_size bytes for each binary tensor, in order.")
    check_rows(asked.inputs, found)
    return asked, found


def check_outputs(asked: InferIn) -> None:
    """Raise :class:`Fault` for an output that is asked for twice."""
    names = [output.name for output in asked.outputs or ()]
    for name in names:
        if names.count(name) > 1:
            raise Fault(422, f"Two outputs are named {name!r}.", shown(name), "Ask for each output once.")


def check_rows(tensors: Sequence[TensorIn], found: dict[str, list[bytes]]) -> None:
    """Raise :class:`Fault` unless every tensor is BYTES of the same number of rows, as its shape says."""
    rows = len(found[tensors[0].name])
    for tensor in tensors:
        if tensor.datatype != "BYTES":
            raise Fault(422, f"Input {tensor.name} is of another type.", shown(tensor.datatype), "Send BYTES.")
        if tensor.shape not in ([rows], [rows, 1]) or len(found[tensor.name]) != rows or not rows:
            fact = f"Input {tensor.name} has {len(found[tensor.name])} elements, of {rows} rows."
            raise Fault(422, fact, shown(tensor.shape), "Send tensors of shape [rows] or [rows, 1], all of one length.")


def listed(tensor: TensorIn, max_rows: int) -> list[bytes]:
    """The elements of a tensor that came as JSON: text as it is; base64 for all but text, task and instruction."""
    flat = [each for row in tensor.data or () for each in (row if isinstance(row, list) else [row])]
    if len(flat) > max_rows:
        raise too_many(max_rows, f"{len(flat)} samples")
    coded = tensor.parameters.get("content_type")
    is_plain = tensor.name in ("text", "task", "instruction") and coded != "base64"
    elements = []
    for each in flat:
        if not isinstance(each, str):
            raise Fault(422, f"Input {tensor.name} holds more than strings.", shown(each), "Send strings.")
        try:
            elements.append(each.encode() if is_plain else base64.b64decode(each, validate=True))
        except (binascii.Error, ValueError) as error:
            mend = "Send base64, or the bytes by the binary extension."
            raise Fault(422, f"Input {tensor.name}: {error}.", shown(each), mend) from error
    return elements


def unpacked(tensor: TensorIn, data: bytes, max_rows: int) -> list[bytes]:
    """The elements of a BYTES tensor that came by the binary extension."""
    elements: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if at + 4 > len(data) or end > len(data):
            fact = f"Input {tensor.name} ends within an element."
            raise Fault(422, fact, f"{len(data)} bytes", "Send each element's length in four bytes, then itself.")
        if len(elements) == max_rows:
            raise too_many(max_rows, f"more than {max_rows} samples")
        elements.append(data[at + 4 : end])
        at = end
    return elements


def packed(column: Column) -> bytes:
    """The bytes of an output.

    >>> packed(Column(name="answer", datatype="BYTES", values=["7", "10"], parameters={}))
    b'\\x01\\x00\\x00\\x007\\x02\\x00\\x00\\x0010'
    """
    if column.datatype == "BYTES":
        return b"".join(len(data).to_bytes(4, "little") + data for data in (str(v).encode() for v in column.values))
    flat = [each for value in column.values for each in (value if isinstance(value, list) else [value])]
    return struct.pack(f"<{len(flat)}{PACKED[column.datatype]}", *flat)


def wanted(asked: InferIn, columns: Sequence[Column]) -> Iterator[tuple[Column, bool]]:
    """The outputs that are wanted, and whether as bytes. Raises :class:`Fault` for one that there is not."""
    by_name = {column.name: column for column in columns}
    if asked.outputs is None:
        as_bytes = asked.parameters.get("binary_data_output") is True
        yield from ((column, as_bytes) for column in columns)
        return
    for output in asked.outputs:
        if output.name not in by_name:
            mend = f"Ask for {', '.join(by_name)}, or leave outputs out."
            raise Fault(422, f"There is no output {output.name!r}.", shown(output.name), mend)
        yield by_name[output.name], output.parameters.get("binary_data") is True


def write(head: dict[str, Any], outputs: Sequence[tuple[Column, bool]]) -> tuple[bytes, dict[str, str]]:
    """The body of an answer and its headers."""
    told, tail = [], b""
    for column, as_bytes in outputs:
        tensor: dict[str, Any] = {"name": column.name, "datatype": column.datatype, "shape": column.shape}
        parameters: dict[str, Any] = dict(column.parameters)
        if as_bytes:
            data = packed(column)
            parameters["binary_data_size"] = len(data)
            tail += data
        else:
            tensor["data"] = [e for v in column.values for e in (v if isinstance(v, list) else [v])]
        told.append({**tensor, "parameters": parameters})
    body = as_json({**head, "outputs": told})
    if not tail:
        return body, {"Content-Type": "application/json"}
    return body + tail, {"Content-Type": "application/octet-stream", HEADER: str(len(body))}
