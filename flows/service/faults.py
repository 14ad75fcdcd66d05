"""Errors as clients see them: a status, and the fact, the value and the mend as JSON. Never a traceback."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from db.errors import BlobStoreUnavailable, DatabaseError, DatabaseUnavailable, IllegalMove, NotFound
from omni_model.serve.errors import DeadlinePassed, EngineClosed, NotAnswerable, NothingServed, Overloaded

MAX_SHOWN = 200
NAMED = re.compile(r"(?<!\w)'([^']+)'(?!\w)|\bno version (\d+)\b")


@dataclass(eq=False)
class Fault(Exception):
    """A refusal that says why and what to do. Not frozen, because Python writes tracebacks into exceptions."""

    status: int
    fact: str
    value: str
    mend: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.fact} {self.mend}"


def fault_of(error: Exception, *, value: object = "") -> Fault | None:
    """The fault that an error of ours is to a client; None for an error that nobody foresaw."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, ValidationError):
        return invalid(error)
    status = status_of(error)
    if status is None:
        return None
    fact, mend = halves(str(error))
    headers = {"Retry-After": str(math.ceil(getattr(error, "retry_after_s", 1)))} if status == 503 else {}
    return Fault(status, fact, shown(value) or named(fact), mend, headers)


def status_of(error: Exception) -> int | None:
    """The HTTP status of an error; None for one that nobody foresaw."""
    if isinstance(error, Overloaded | NothingServed | EngineClosed | DatabaseUnavailable | BlobStoreUnavailable):
        return 503
    if isinstance(error, DeadlinePassed):
        return 504
    if isinstance(error, NotFound):
        return 404
    if isinstance(error, IllegalMove):
        return 409
    if isinstance(error, NotAnswerable | ValueError):
        return 422
    return 503 if isinstance(error, DatabaseError) else None


def invalid(error: ValidationError) -> Fault:
    """What is wrong with a body, its first fault."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "the body"
    return Fault(
        422,
        f"{place}: {first['msg'].rstrip('.')}.",
        shown(first["input"]),
        "Correct it; /v1/openapi.json has the form.",
    )


def too_many(max_samples: int, got: str) -> Fault:
    """The refusal of more samples than one request may hold."""
    return Fault(422, f"One request may hold {max_samples} samples.", got, "Send several requests.")


def named(fact: str) -> str:
    """The value that a fact names: what it quotes, or the version; empty if it names none.

    >>> named("v1 knows no task 'colour'; it knows digit."), named("There is no version 99."), named("It is full.")
    ('colour', '99', '')
    """
    found = NAMED.search(fact)
    return shown(found[1] or found[2]) if found else ""


def halves(message: str) -> tuple[str, str]:
    """A message's fact and its mend, which is the last sentence.

    >>> halves("The queue is full. Ask again in 1.5 s.")
    ('The queue is full.', 'Ask again in 1.5 s.')
    >>> halves("It broke")
    ('It broke', 'See docs/service.md.')
    """
    fact, _, mend = message.rpartition(". ")
    return (f"{fact}.", mend) if fact else (message, "See docs/service.md.")


def shown(value: object) -> str:
    """A value as it is told, cut short.

    >>> len(shown("x" * 1000))
    200
    """
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"
