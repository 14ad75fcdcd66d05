"""What is asked under /v1: predictions, feedback, versions. Everything that computes or waits runs in a thread."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter
from fastapi import Request as HttpRequest

from flows.service.faults import Fault, fault_of
from flows.service.live import Asked, LiveService
from flows.service.reading import SMALL_BYTES, parse, parse_sample, read_body
from flows.service.wire import (
    BatchIn,
    BatchOut,
    ErrorOut,
    FeedbackIn,
    FeedbackOut,
    PredictIn,
    PredictOut,
    VersionOut,
    VersionsOut,
    body_of,
    error_of,
)

Value = TypeVar("Value")
REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorOut, "description": "The key is missing or wrong"},
    403: {"model": ErrorOut, "description": "Asked by a page of another origin"},
    413: {"model": ErrorOut, "description": "The body is too large"},
    415: {"model": ErrorOut, "description": "The body is of another type"},
    422: {"model": ErrorOut, "description": "The body cannot be used"},
    503: {"model": ErrorOut, "description": "Not now; Retry-After says when"},
}
LATE: dict[int | str, dict[str, Any]] = {504: {"model": ErrorOut, "description": "The deadline passed"}}
UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorOut, "description": "No such prediction"},
    409: {"model": ErrorOut, "description": "Other feedback was given before"},
}
BODIES = (PredictIn, BatchIn, FeedbackIn)


def takes(form: type, *, multipart: bool = False) -> dict[str, Any]:
    """OpenAPI's words for a body that the route reads itself."""
    content: dict[str, Any] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{form.__name__}"}}}
    if multipart:
        parts = {"type": "object", "required": ["task"], "properties": {"task": {"type": "string"}}}
        content["multipart/form-data"] = {"schema": {**parts, "additionalProperties": True}}
    return {"requestBody": {"required": True, "content": content}}


def routes(service: LiveService) -> APIRouter:
    """The routes of /v1."""
    router = APIRouter(prefix="/v1")

    @router.post("/predict", responses=REFUSALS | LATE, openapi_extra=takes(PredictIn, multipart=True))
    async def predict(request: HttpRequest) -> PredictOut:
        """Answer one sample, sent as JSON or as a multipart form whose parts are named like the modalities."""
        asked = await read(service, request, lambda data, kind: service.ask(parse_sample(data, kind)))
        return await answered(service, asked, request.state.request_id)

    @router.post("/predict/batch", responses=REFUSALS, openapi_extra=takes(BatchIn))
    async def predict_batch(request: HttpRequest) -> BatchOut:
        """Answer several samples; each is answered or refused by itself, in order."""
        request_id = request.state.request_id
        waiting = await read(service, request, lambda data, kind: ask_all(service, parse(BatchIn, data, kind)))
        done = [await one_of_many(service, asked, request_id) for asked in waiting]
        faults = [entry for entry in done if isinstance(entry, Fault)]
        if len(faults) == len(done) and all(fault.status == 503 for fault in faults):
            raise faults[0]
        return BatchOut(
            predictions=[
                ErrorOut(**error_of(entry, request_id)) if isinstance(entry, Fault) else entry for entry in done
            ]
        )

    @router.post("/feedback", responses=REFUSALS | UNKNOWN, openapi_extra=takes(FeedbackIn))
    async def feedback(request: HttpRequest) -> FeedbackOut:
        """Say what was right. Durable once answered; saying the same again changes nothing."""
        body = await read(service, request, lambda data, kind: parse(FeedbackIn, data, kind))
        loop = asyncio.get_running_loop()
        is_new = await loop.run_in_executor(service.stores, service.give_feedback, body)
        return FeedbackOut(prediction=body.prediction, new=is_new)

    @router.get("/versions", responses={code: REFUSALS[code] for code in (401, 403, 503)})
    async def versions() -> VersionsOut:
        """Every version with its state, and which one this process answers with."""
        known, serving = await asyncio.get_running_loop().run_in_executor(service.stores, service.versions)
        served, warm = service.engine.served, service.engine.warm_versions
        return VersionsOut(
            versions=[
                VersionOut(
                    version=row.version,
                    state=row.state,
                    parent=row.parent_version,
                    in_service=row.version == serving.version,
                    answering=served is not None and row.version == served.version,
                    warm=row.version in warm,
                )
                for row in known
            ],
            generation=serving.generation,
            answering=served.version if served else None,
            refused=service.watch.refusal,
        )

    return router


async def read(service: LiveService, request: HttpRequest, use: Callable[[bytes, str], Value]) -> Value:
    """What `use` makes of the request's body and its type, read within its limit; of a large one, in a thread."""
    body = await read_body(request, service.config.max_body_bytes)
    kind = request.headers.get("content-type", "")
    if len(body) <= SMALL_BYTES:
        return use(body, kind)
    return await asyncio.get_running_loop().run_in_executor(service.parsers, use, body, kind)


async def answered(service: LiveService, asked: Asked, request_id: str) -> PredictOut:
    """Wait for an answer and note it."""
    answer = await asyncio.wrap_future(asked.future)
    service.note(asked, answer, request_id)
    return body_of(answer)


async def one_of_many(service: LiveService, asked: Asked | Fault, request_id: str) -> PredictOut | Fault:
    """An answer, or the fault that stands in its place."""
    if isinstance(asked, Fault):
        return asked
    try:
        return await answered(service, asked, request_id)
    except Exception as error:  # noqa: BLE001  what is no fault of ours is raised again
        return known_fault(error)


def ask_all(service: LiveService, body: BatchIn) -> list[Asked | Fault]:
    """Each sample on its way, or the fault that keeps it from going. Raises :class:`Fault` for too many samples."""
    if len(body.samples) > service.config.max_samples:
        fact = f"One request may hold {service.config.max_samples} samples."
        raise Fault(422, fact, f"{len(body.samples)} samples", "Send several requests.")
    asked: list[Asked | Fault] = []
    for sample in body.samples:
        try:
            asked.append(service.ask(sample))
        except Exception as error:  # noqa: BLE001  what is no fault of ours is raised again
            asked.append(known_fault(error))
    return asked


def known_fault(error: Exception) -> Fault:
    """The fault that an error is to the client; any other error is raised again."""
    fault = fault_of(error)
    if fault is None:
        raise error
    return fault
