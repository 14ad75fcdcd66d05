"""What is asked under /v1 of predictions and feedback. Everything that computes or waits runs in a thread.

Answers are written once, as bytes: the forms document them, and the tests hold them to the forms.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from starlette.responses import Response

from flows.service.asking import Asking, by_whom
from flows.service.direct import DirectRoute
from flows.service.faults import Fault, too_many
from flows.service.forms import (
    BatchIn,
    BatchOut,
    ErrorOut,
    FeedbackIn,
    FeedbackOut,
    IngestIn,
    IngestOut,
    PredictIn,
    PredictOut,
)
from flows.service.ingest import Intake
from flows.service.keys import Caller
from flows.service.live import LiveService
from flows.service.reading import SMALL_BYTES, parse, parse_sample, parse_samples, read_body
from flows.service.scopes import needs
from flows.service.wire import as_json, by, error_of

Value = TypeVar("Value")
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "No HTTP, or the client hung up"},
    401: {"model": ErrorOut, "description": "The key is missing or wrong"},
    403: {"model": ErrorOut, "description": "The key has not the scope, or a page of another origin asks"},
    503: {"model": ErrorOut, "description": "Not now; Retry-After says when"},
}
UNREADABLE: dict[int | str, dict[str, Any]] = {
    413: {"model": ErrorOut, "description": "The body is too large"},
    415: {"model": ErrorOut, "description": "The body is of another type"},
    422: {"model": ErrorOut, "description": "The body cannot be used"},
}
LATE: dict[int | str, dict[str, Any]] = {504: {"model": ErrorOut, "description": "The deadline passed"}}
UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorOut, "description": "No such prediction"},
    409: {"model": ErrorOut, "description": "Other feedback was given before"},
}


def takes(form: type, *, multipart: bool = False) -> dict[str, Any]:
    """OpenAPI's words for a body that the route reads itself."""
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{form.__name__}"}}}
    if multipart:
        parts = {"type": "object", "required": ["task"], "properties": {"task": {"type": "string"}}}
        content["multipart/form-data"] = {"schema": {**parts, "additionalProperties": True}}
    return {"requestBody": {"required": True, "content": content}}


def gives(form: type, says: str = "Done") -> dict[int | str, dict[str, Any]]:
    """The answer that a route writes itself."""
    return {200: {"model": form, "description": says}}


def told(value: Any, status: int = 200) -> Response:
    """An answer, written once."""
    return Response(as_json(value), status, media_type="application/json")


def routes(service: LiveService, asking: Asking, intake: Intake) -> APIRouter:
    """The routes of predictions, feedback and samples."""
    router = APIRouter(prefix="/v1", route_class=DirectRoute)

    @router.post(
        "/predict",
        responses=gives(PredictOut, "The answer") | REFUSALS | UNREADABLE | LATE,
        openapi_extra=needs("predict", takes(PredictIn, multipart=True)),
    )
    async def predict(request: HttpRequest) -> Response:
        """Answer one sample, sent as JSON or as a multipart form whose parts are named like the modalities."""
        state = request.scope["state"]
        body = await read(service, request, parse_sample)
        return told(await asking.answer(body, **by_whom(state)))

    @router.post(
        "/predict/batch",
        responses=gives(BatchOut, "The answers and refusals") | REFUSALS | UNREADABLE,
        openapi_extra=needs("predict", takes(BatchIn)),
    )
    async def predict_batch(request: HttpRequest) -> Response:
        """Answer several samples; each is answered or refused by itself, in order."""
        state = request.scope["state"]
        body = await read(service, request, partial(parse_samples, BatchIn, max_samples=service.config.max_samples))
        check_number(service, len(body.samples))
        done = await asking.answer_all(body.samples, **by_whom(state))
        faults = [entry for entry in done if isinstance(entry, Fault)]
        if len(faults) == len(done) and all(fault.status == 503 for fault in faults):
            raise faults[0]
        said = [error_of(entry, state["request_id"]) if isinstance(entry, Fault) else entry for entry in done]
        return told({"predictions": said})

    @router.post(
        "/feedback",
        responses=gives(FeedbackOut, "It is stored") | REFUSALS | UNREADABLE | UNKNOWN,
        openapi_extra=needs("feedback", takes(FeedbackIn)),
    )
    async def feedback(request: HttpRequest) -> Response:
        """Say what was right. Durable once answered; saying the same again changes nothing."""
        body = await read(service, request, lambda data, kind: parse(FeedbackIn, data, kind))
        body = signed(body, request.scope["state"]["caller"])
        is_new = await asyncio.get_running_loop().run_in_executor(service.stores, service.give_feedback, body)
        return told({"prediction": body.prediction, "new": is_new})

    @router.post(
        "/ingest",
        responses=gives(IngestOut, "Nothing was new")
        | {202: {"model": IngestOut, "description": "New samples are kept, for rounds to come"}}
        | REFUSALS
        | UNREADABLE,
        openapi_extra=needs("operate", takes(IngestIn)),
    )
    async def ingest(request: HttpRequest) -> Response:
        """Keep samples. Durable once answered; sending the same again changes nothing. Bad ones are told, and kept
        as faults; the others go on.
        """
        body = await read(service, request, partial(parse_samples, IngestIn, max_samples=service.config.max_samples))
        check_number(service, len(body.samples))
        done = await intake.take(body.samples)
        return told(done.model_dump(), 202 if done.num_new else 200)

    return router


async def read(service: LiveService, request: HttpRequest, use: Callable[[bytes, str], Value]) -> Value:
    """What `use` makes of the request's body and its type, read within its limit; of a large one, in a thread."""
    body = await read_body(request, service.config.max_body_bytes)
    kind = request.headers.get("content-type", "")
    if len(body) <= SMALL_BYTES:
        return use(body, kind)
    return await asyncio.get_running_loop().run_in_executor(service.parsers, use, body, kind)


def check_number(service: LiveService, number: int) -> None:
    """Raise :class:`Fault` for too many samples."""
    if number > service.config.max_samples:
        raise too_many(service.config.max_samples, f"{number} samples")


def signed(body: FeedbackIn, caller: Caller) -> FeedbackIn:
    """Feedback in its key's name, beside the one that it gives itself."""
    return body.model_copy(update={"who": by(body.who, caller.name)}) if caller.name else body
