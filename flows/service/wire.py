"""Between the bodies of HTTP and the engine's own values."""

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from starlette.responses import JSONResponse, Response

from flows.service.faults import Fault, shown
from flows.service.forms import FeedbackIn, HealthOut, Inline, PredictIn, PredictOut, Remote
from omni_model.msn.choice import Budget
from omni_model.serve.exchange import Answer, Request

__all__ = [
    "FeedbackIn",
    "HealthOut",
    "PredictIn",
    "PredictOut",
    "answer_out",
    "error_of",
    "fields_of",
    "refusal",
    "request_of",
]

as_json = TypeAdapter[Any](Any).dump_json
"""Plain values and models as JSON, by pydantic's serialiser."""
NUMBERS = ("deadline_s", "budget", "budget_s")
"""Fields of a form that are numbers."""


def request_of(body: PredictIn) -> Request:
    """The engine's form of a body, under a new prediction id. Raises :class:`Fault`."""
    has_budget = body.budget is not None or body.budget_s is not None
    return Request(
        id=os.urandom(16).hex(),
        task=body.task,
        instruction=body.instruction.strip(),
        content={name: content_of(name, value) for name, value in body.inputs.items()},
        budget=Budget(share=body.budget, latency_s=body.budget_s) if has_budget else None,
        key=body.key,
    )


def content_of(modality: str, value: str | Inline | Remote | bytes) -> bytes:
    """The bytes of one input; bytes are what was fetched already. Raises :class:`Fault`."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, Remote):
        mend = 'Send the file\'s bytes as {"base64": "…"}.'
        raise Fault(422, f"inputs.{modality}.uri: URIs are not fetched here.", shown(value.uri), mend)
    if isinstance(value, str):
        if modality != "text":
            mend = 'Send the file\'s bytes as {"base64": "…"}, or as a part of a multipart form.'
            raise Fault(422, f"inputs.{modality}: a plain string is text, not {modality}.", shown(value), mend)
        return value.encode()
    try:
        return base64.b64decode(value.base64, validate=True)
    except (binascii.Error, ValueError) as error:
        mend = "Encode the file's bytes anew, without line breaks."
        raise Fault(422, f"inputs.{modality}.base64: {error}.", shown(value.base64), mend) from error


def by(who: str, key: str) -> str:
    """Who says something: what the body says of itself counts only beside the name of its key, where there is one.

    >>> by("ann", "shop"), by("", "shop"), by("ann", "")
    ('ann via shop', 'shop', 'ann')
    """
    return f"{who} via {key}" if who and key else who or key


def answer_out(answer: Answer) -> dict[str, Any]:
    """An answer in the form of :class:`PredictOut`, as plain values: building the model would only check our own."""
    parts = answer.latency
    return {
        "prediction": answer.id,
        "task": answer.task,
        "answer": answer.answer,
        "probability": answer.probability,
        "probabilities": answer.probabilities,
        "uncertainty": {"one_minus_max": max(0.0, 1 - answer.probability), "entropy": answer.entropy},
        "modalities": {"received": answer.received, "used": answer.used, "ignored": answer.ignored},
        "version": answer.version,
        "generation": answer.generation,
        "budget": answer.budget,
        "latency_s": {
            "queue": parts.queue_s,
            "decode": parts.decode_s,
            "encode": parts.encode_s,
            "fuse": parts.fuse_s,
            "total": parts.total_s,
        },
    }


def error_of(fault: Fault, request_id: str) -> dict[str, str]:
    """A refusal as it is sent."""
    return {"fact": fault.fact, "value": fault.value, "mend": fault.mend, "request_id": request_id}


def refusal(path: str, fault: Fault, request_id: str) -> Response:
    """A refusal as an answer, in the form that the path's protocol gives it."""
    own = {"error": str(fault)} if path.startswith("/v2") else error_of(fault, request_id)
    return JSONResponse(own, fault.status, dict(fault.headers))


def fields_of(parts: Mapping[str, str | bytes]) -> PredictIn:
    """The body that the parts of a multipart form mean: ours by name, every other one is the input of that modality."""
    own = PredictIn.model_fields.keys() - {"inputs", *NUMBERS}
    values: dict[str, object] = {name: _text(name, part) for name, part in parts.items() if name in own}
    values |= {name: _number(name, parts[name]) for name in NUMBERS if name in parts}
    values["inputs"] = {
        name: part if isinstance(part, str) else Inline(base64=base64.b64encode(part).decode())
        for name, part in parts.items()
        if name not in own and name not in NUMBERS
    }
    return PredictIn.model_validate(values)


def _text(name: str, part: str | bytes) -> str:
    if isinstance(part, str):
        return part
    raise Fault(422, f"{name}: a file came where text is expected.", "a file", f"Send {name} as a plain form field.")


def _number(name: str, part: str | bytes) -> float:
    try:
        return float(_text(name, part))
    except ValueError as error:
        raise Fault(422, f"{name}: {error}.", shown(part), "Send a number.") from error
