"""What a request says, as plain values: a form's fields, and their check against a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl

import multipart
from fastapi import Request
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from dashboards.problems import Problem

Asked = TypeVar("Asked", bound=BaseModel)
MAX_BODY_BYTES = 20 * 2**20
"""Bytes of a form at most, an imported file included."""
MAX_FIELDS = 2_000
MOST = 2**63 - 1
"""The largest number of a row."""


def _blank(value: Any) -> Any:
    return None if value == "" else value


Blank = BeforeValidator(_blank)
"""A field that was left empty is None."""
RowNumber = Annotated[int, Field(ge=1, le=MOST)]
"""What a row is known by."""
MaybeRow = Annotated[RowNumber | None, Blank]
"""The same, or nothing where the field was left empty."""


def parsed(model: type[Asked], values: Mapping[str, Any]) -> Asked:
    """The values as the model takes them. A `Problem` (422) names the first that does not fit, and why."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "value_error":
            raise Problem(422, str(first["ctx"]["error"])) from error
        name = ".".join(str(part) for part in first["loc"]) or "the form"
        got = "" if first["type"] in ("missing", "extra_forbidden") else f", got {str(first['input'])[:80]!r}"
        raise Problem(422, f"{name}: {first['msg'].rstrip('.')}{got}. Go back and mend it.") from error


async def read_form(request: Request) -> dict[str, Any]:
    """The fields of a form or of a JSON object; what is there twice is a list, an uploaded file is its bytes."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await read_body(request)
    if kind == "application/json":
        return read_json(body)
    if kind == "multipart/form-data":
        return read_multipart(request.headers["content-type"], body)
    if kind not in ("application/x-www-form-urlencoded", ""):
        raise Problem(415, f"A form is urlencoded, multipart or JSON, got {kind[:80]!r}. Send one of them.")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise Problem(422, f"The form cannot be read: {error}. Send it as UTF-8.") from error
    return gathered(pairs)


async def read_body(request: Request) -> bytes:
    """The body, as far as its length is allowed."""
    parts, num = [], 0
    async for part in request.stream():
        num += len(part)
        if num > MAX_BODY_BYTES:
            raise Problem(413, f"A form has at most {MAX_BODY_BYTES:,} bytes. Send less at once.")
        parts.append(part)
    return b"".join(parts)


def read_json(body: bytes) -> dict[str, Any]:
    """The object that a body is."""
    try:
        value = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise Problem(422, "The body is no JSON. Send one object.") from error
    if not isinstance(value, dict):
        raise Problem(422, f"The body is a JSON {type(value).__name__}, not an object. Send one object.")
    return value


def read_multipart(kind: str, body: bytes) -> dict[str, Any]:
    """The parts of a form with files."""
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": kind,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body),
    }
    try:
        fields, files = multipart.parse_form_data(
            environ, strict=True, mem_limit=MAX_BODY_BYTES, memfile_limit=MAX_BODY_BYTES, part_limit=MAX_FIELDS
        )
    except multipart.MultipartError as error:
        raise Problem(422, f"The form cannot be read: {error}. Send it again.") from error
    return gathered([(name, fields[name]) for name in fields]) | {name: files[name].raw for name in files}


def gathered(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Pairs as a mapping; what is there twice becomes a list.

    >>> gathered([("a", "1"), ("b", "2"), ("a", "3")])
    {'a': ['1', '3'], 'b': '2'}
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found
