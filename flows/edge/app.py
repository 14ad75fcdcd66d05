"""The edge's HTTP: predict, batch, feedback, health and metrics in the forms that the live service has."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from flows.edge.config import EdgeConfig
from flows.edge.document import EdgeBatchOut, document, takes
from flows.edge.door import EdgeDoor
from flows.edge.forms import BundleOut, EdgePredictOut
from flows.edge.service import EdgeService
from flows.service.config import LOOPBACK
from flows.service.faults import Fault, fault_of, shown, too_many
from flows.service.forms import BatchIn, ErrorOut, FeedbackIn, FeedbackOut, HealthOut, PredictIn
from flows.service.reading import SMALL_BYTES, BodyBudget, parse, parse_sample, parse_samples, read_body
from flows.service.wire import error_of
from omni_model.errors import OmniError

logger = logging.getLogger(__name__)

Value = TypeVar("Value")
REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorOut, "description": says}
    for code, says in (
        (401, "The key is missing or wrong"),
        (403, "Asked by a page of another origin"),
        (413, "The body is too large"),
        (415, "The body is of another type"),
        (422, "The body cannot be used"),
        (503, "Not now; Retry-After says when"),
        (504, "The deadline passed"),
    )
}
UNKNOWN: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorOut, "description": "No such prediction"},
    409: {"model": ErrorOut, "description": "Other feedback was given before"},
}


def create_app(folder: Path, config: EdgeConfig, spool_folder: Path) -> FastAPI:
    """The edge over a bundle. Its threads live from now to the shut-down of the returned application."""
    service = EdgeService(folder, config, spool_folder)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(
        title="Omniloop edge", version="1", lifespan=lifespan, docs_url=None, redoc_url=None,
        openapi_url="/v1/openapi.json", redirect_slashes=False,
    )  # fmt: skip
    app.state.service, app.state.bodies = service, BodyBudget(config.body_bytes)
    add_routes(app, service)
    add_health(app, service)
    add_errors(app)
    app.add_middleware(
        EdgeDoor, api_key=config.api_key, metrics=service.metrics, hosts={*LOOPBACK, config.host.lower()}
    )
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    return app


def add_routes(app: FastAPI, service: EdgeService) -> None:
    """What is asked under /v1."""

    @app.post(
        "/v1/predict",
        responses=REFUSALS,
        response_model=EdgePredictOut,
        openapi_extra=takes(PredictIn, multipart=True),
    )
    async def predict(request: HttpRequest) -> Response:
        """Answer one sample, or let the cloud answer it where this model is unsure and the cloud is there."""
        body = await read(service, request, parse_sample)
        return JSONResponse(await service.answer(body, **asked_by(request)))

    @app.post("/v1/predict/batch", responses=REFUSALS, response_model=EdgeBatchOut, openapi_extra=takes(BatchIn))
    async def predict_batch(request: HttpRequest) -> Response:
        """Answer several samples; each is answered or refused by itself, in order."""
        body = await read(service, request, partial(parse_samples, BatchIn, max_samples=service.config.max_samples))
        if len(body.samples) > service.config.max_samples:
            raise too_many(service.config.max_samples, f"{len(body.samples)} samples")
        waiting = (service.answer(sample, **asked_by(request)) for sample in body.samples)
        done = await asyncio.gather(*waiting, return_exceptions=True)
        said = [entry if isinstance(entry, dict) else known_fault(entry) for entry in done]
        faults = [entry for entry in said if isinstance(entry, Fault)]
        if len(faults) == len(said) and all(fault.status == 503 for fault in faults):
            raise faults[0]
        request_id = request.state.request_id
        rows = [error_of(entry, request_id) if isinstance(entry, Fault) else entry for entry in said]
        return JSONResponse({"predictions": rows})

    @app.post("/v1/feedback", responses=REFUSALS | UNKNOWN, openapi_extra=takes(FeedbackIn))
    async def feedback(request: HttpRequest) -> FeedbackOut:
        """Say what was right. On this device's disk once answered; the cloud gets it when it can be reached."""
        body = await read(service, request, lambda data, kind: parse(FeedbackIn, data, kind))
        return FeedbackOut(prediction=body.prediction, new=await service.give_feedback(body))

    @app.get("/v1/bundle")
    async def bundle() -> BundleOut:
        """What runs here, and how it stands with the cloud."""
        return await asyncio.to_thread(service.about)


def asked_by(request: HttpRequest) -> dict[str, Any]:
    """What the service wants to know of a request."""
    return {"request_id": request.state.request_id, "began": request.state.began}


async def read(service: EdgeService, request: HttpRequest, use: Callable[[bytes, str], Value]) -> Value:
    """What `use` makes of the request's body and its type, read within its limit; of a large one, in a thread."""
    body = await read_body(request, service.config.max_body_bytes)
    kind = request.headers.get("content-type", "")
    if len(body) <= SMALL_BYTES:
        return use(body, kind)
    return await asyncio.get_running_loop().run_in_executor(service.parsers, use, body, kind)


def known_fault(error: BaseException) -> Fault:
    """The fault that an error is to the client; any other error is raised again."""
    fault = fault_of(error) if isinstance(error, Exception) else None
    if fault is None:
        raise error
    return fault


def add_health(app: FastAPI, service: EdgeService) -> None:
    """Health and metrics."""
    not_yet: dict[int | str, dict[str, Any]] = {503: {"model": HealthOut, "description": "Not now"}}

    @app.get("/health/live")
    async def live() -> HealthOut:
        """The process answers."""
        return HealthOut(status="live")

    @app.get("/health/started")
    async def started() -> HealthOut:
        """The model is loaded: without it nothing listens."""
        return HealthOut(status="started", version=service.bundle.version)

    @app.get("/health/ready", responses=not_yet, response_model=HealthOut)
    async def ready() -> Response:
        """A canary was answered within its deadline just now. The cloud need not be there."""
        began = time.monotonic()
        try:
            answer = await asyncio.to_thread(lambda: service.engine.canary(deadline_s=service.config.ready_deadline_s))
        except (OmniError, ValueError) as error:
            return JSONResponse(HealthOut(status="not ready", reason=str(error)).model_dump(), 503)
        logger.debug("canary answered in %.3f s", time.monotonic() - began)
        return JSONResponse(HealthOut(status="ready", version=answer.version).model_dump())

    for path, answer in (("live", live), ("started", started), ("ready", ready)):
        app.head(f"/health/{path}", include_in_schema=False, response_model=None)(answer)

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Prometheus's text format."""
        return Response(await asyncio.to_thread(service.metrics.text), media_type=CONTENT_TYPE_LATEST)


def add_errors(app: FastAPI) -> None:
    """Every error as JSON with fact, value and mend."""

    async def refuse(request: HttpRequest, error: Exception) -> Response:
        fault = fault_of(error)
        request_id = getattr(request.state, "request_id", "")
        if fault is None:
            logger.error("request %s failed", request_id, exc_info=error)
            fact = f"The edge failed: {type(error).__name__}."
            fault = Fault(500, fact, "", f"Look for {request_id} in the edge's log, and report it.")
        return JSONResponse(error_of(fault, request_id), fault.status, dict(fault.headers))

    async def unrouted(request: HttpRequest, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        mend = "See /v1/openapi.json for what can be asked, and how."
        value, headers = f"{request.method} {request.url.path}", dict(error.headers or {})
        return await refuse(request, Fault(error.status_code, f"{error.detail}.", shown(value), mend, headers))

    async def gone(request: HttpRequest, error: Exception) -> Response:
        return Response(status_code=400)  # nobody reads it

    app.add_exception_handler(HTTPException, unrouted)
    app.add_exception_handler(ClientDisconnect, gone)
    for kind in (Fault, ValueError, OmniError, Exception):
        app.add_exception_handler(kind, refuse)
