"""From the bytes of a request's body to a checked one, bounded in size, JSON or multipart."""

from io import BytesIO
from typing import TypeVar

from fastapi import Request as HttpRequest
from multipart import MultipartError, MultipartParser, parse_options_header
from pydantic import BaseModel

from flows.service.faults import Fault, shown
from flows.service.wire import PredictIn, fields_of

MAX_PARTS = 24
SMALL_BYTES = 32 * 2**10
"""A body up to this size is read on the event loop: handing it to a thread would cost more."""

Form = TypeVar("Form", bound=BaseModel)


async def read_body(request: HttpRequest, max_bytes: int) -> bytes:
    """The whole body. Raises :class:`Fault` as soon as it is known to be too large."""
    declared = request.headers.get("content-length", "0")
    pieces, size = [], int(declared) if declared.isdecimal() else 0
    if size <= max_bytes:
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size > max_bytes:
                break
            pieces.append(piece)
    if size > max_bytes:
        mend = "Send less at once, or raise OMNI_SERVICE__MAX_BODY_BYTES."
        raise Fault(413, f"The body has more than the {max_bytes:,} bytes allowed.", f"{size:,} bytes", mend)
    return b"".join(pieces)


def parse(form: type[Form], body: bytes, content_type: str) -> Form:
    """A JSON body, checked. Raises :class:`Fault` or pydantic's error."""
    kind, _ = parse_options_header(content_type)
    if kind.lower() != "application/json":
        mend = "Send JSON with `Content-Type: application/json`."
        raise Fault(415, "The body is of a type that is not read here.", shown(content_type or "none"), mend)
    return form.model_validate_json(body)


def parse_sample(body: bytes, content_type: str) -> PredictIn:
    """One sample, as JSON or as a multipart form. Raises :class:`Fault` or pydantic's error."""
    kind, options = parse_options_header(content_type)
    if kind.lower() != "multipart/form-data":
        return parse(PredictIn, body, content_type)
    return fields_of(parts_of(body, options.get("boundary", "")))


def parts_of(body: bytes, boundary: str) -> dict[str, str | bytes]:
    """The parts of a form by name: files as bytes, fields as text."""
    parts: dict[str, str | bytes] = {}
    try:
        if not boundary:
            raise MultipartError("no boundary in the content type")
        limit = len(body) + 1
        for part in MultipartParser(BytesIO(body), boundary, len(body), memory_limit=limit, part_limit=MAX_PARTS):
            if part.name in parts:
                raise MultipartError(f"two parts are named {part.name!r:.80}")
            parts[part.name] = part.raw if part.filename else part.value
            part.close()  # a large one lies in a temporary file
    except (MultipartError, UnicodeDecodeError) as error:
        mend = "Send one part for each field and each modality."
        raise Fault(422, f"The form cannot be read: {error}.", shown(f"boundary {boundary}"), mend) from error
    return parts
