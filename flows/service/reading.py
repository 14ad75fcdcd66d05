"""From the bytes of a request's body to a checked one, bounded in size, JSON or multipart."""

import re
from io import BytesIO
from typing import TypeVar

from fastapi import Request as HttpRequest
from multipart import MultipartError, MultipartParser, parse_options_header
from pydantic import BaseModel

from flows.service.faults import Fault, shown, too_many
from flows.service.wire import PredictIn, fields_of

MAX_PARTS = 24
MAX_COMMAS = 1024
"""Commas between the values of a JSON body that is one sample, or what is said of one."""
COMMAS_PER_SAMPLE = 64
"""Commas of one sample at most: 26 in each known field and every input, and some for what nobody knows."""
CHARSETS = ("utf8", "utf-8", "us-ascii")
"""What the text of a form may be in; its parts name a codec of Python's otherwise, which may be slow, or none."""
STRING_OR_COMMA = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|,', re.DOTALL)
SMALL_BYTES = 32 * 2**10
"""A body up to this size is read on the event loop: handing it to a thread would cost more."""

Form = TypeVar("Form", bound=BaseModel)


class BodyBudget:
    """Bytes of all bodies together that are on their way in. Used in the event loop alone."""

    def __init__(self, max_bytes: int) -> None:
        self._left = max_bytes

    def take(self, num_bytes: int) -> None:
        """Raise :class:`Fault` if there is no room for so many more."""
        if num_bytes > self._left:
            mend = "Ask again in a second, or raise BODY_BYTES in the settings."
            raise Fault(503, "Too many bodies are being read at once.", f"{num_bytes:,} bytes more", mend, RETRY)
        self._left -= num_bytes

    def give_back(self, num_bytes: int) -> None:
        """They are read, or given up."""
        self._left += num_bytes


RETRY = {"Retry-After": "1"}


async def read_body(request: HttpRequest, max_bytes: int) -> bytes:
    """The whole body, within the budget of the application. Raises :class:`Fault` as soon as it is known to be too
    large.
    """
    budget: BodyBudget = request.app.state.bodies
    taken = 0
    declared = request.headers.get("content-length", "0")
    pieces, size = [], int(declared) if declared.isdecimal() else 0
    if size <= max_bytes:
        size = 0
        try:
            async for piece in request.stream():
                size += len(piece)
                if size > max_bytes:
                    break
                budget.take(len(piece))
                taken = size
                pieces.append(piece)
        finally:
            budget.give_back(taken)
    if size > max_bytes:
        mend = "Send less at once, or raise OMNI_SERVICE__MAX_BODY_BYTES."
        raise Fault(413, f"The body has more than the {max_bytes:,} bytes allowed.", f"{size:,} bytes", mend)
    return b"".join(pieces)


def parse(form: type[Form], body: bytes, content_type: str, *, max_commas: int = MAX_COMMAS) -> Form:
    """A JSON body, checked; of many values none is looked at. Raises :class:`Fault` or pydantic's error."""
    kind, _ = parse_options_header(content_type)
    if kind.lower() != "application/json":
        mend = "Send JSON with `Content-Type: application/json`."
        raise Fault(415, "The body is of a type that is not read here.", shown(content_type or "none"), mend)
    if has_more_commas(body, max_commas):
        mend = "Send less at once; /v1/openapi.json has the form."
        raise Fault(422, "The body holds more values than anything that is read here.", f"{len(body):,} bytes", mend)
    return form.model_validate_json(body)


def parse_samples(form: type[Form], body: bytes, content_type: str, max_samples: int) -> Form:
    """A JSON body of samples, checked once it is known that there are not far too many. Raises like :func:`parse`."""
    check_commas(body, max_samples)
    return parse(form, body, content_type, max_commas=len(body))


def check_commas(body: bytes, max_samples: int) -> None:
    """Raise :class:`Fault` for a JSON body that must hold more samples than this, before a value of it is built."""
    if has_more_commas(body, MAX_COMMAS + max_samples * COMMAS_PER_SAMPLE):
        raise too_many(max_samples, "far more")


def has_more_commas(body: bytes, number: int) -> bool:
    """Whether more than so many commas are outside of strings. Looks no further than it must; base64 holds none.

    >>> has_more_commas(b'["a,b,c", 2]', 1), has_more_commas(rb'["a\\",b,c", 2, 3]', 1)
    (False, True)
    """
    if body.count(b",") <= number:
        return False
    for match in STRING_OR_COMMA.finditer(body):
        number -= body[match.start()] == 44
        if number < 0:
            return True
    return False


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
            if not part.filename and part.charset.lower() not in CHARSETS:
                raise MultipartError(f"part {part.name!r:.80} is in {part.charset!r:.80}, and only UTF-8 is read")
            parts[part.name] = part.raw if part.filename else part.raw.decode("utf-8")
            part.close()  # a large one lies in a temporary file
    except (MultipartError, UnicodeDecodeError) as error:
        mend = "Send one part for each field and each modality."
        raise Fault(422, f"The form cannot be read: {error}.", shown(f"boundary {boundary}"), mend) from error
    return parts
