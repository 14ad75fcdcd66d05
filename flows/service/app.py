"""The FastAPI application: routes, health, metrics, and how errors are told."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response

from db.errors import DatabaseError
from flows.edge.forms import EdgeLogIn
from flows.service.asking import Asking
from flows.service.config import LOOPBACK, NOTHING_SERVED
from flows.service.control import control
from flows.service.control_forms import MoveIn
from flows.service.door import Door
from flows.service.edge_sync import edge_sync
from flows.service.faults import Fault, fault_of, shown
from flows.service.forms import BatchIn, FeedbackIn, HealthOut, IngestIn, PredictIn, SampleIn
from flows.service.ingest import Intake
from flows.service.keys import OPEN, KeyTable
from flows.service.live import LiveService
from flows.service.own_key import own_key
from flows.service.reading import BodyBudget
from flows.service.routes import REFUSALS, routes
from flows.service.scopes import ScopeTable, needs
from flows.service.uris import Fetcher
from flows.service.v2 import v2
from flows.service.v2_forms import InferIn
from flows.service.wire import refusal
from flows.workspace import Workspace
from omni_model.errors import OmniError

logger = logging.getLogger(__name__)

BODIES = (PredictIn, BatchIn, FeedbackIn, IngestIn, SampleIn, MoveIn, InferIn, EdgeLogIn)
"""Forms that routes read themselves."""


def create_app(ws: Workspace) -> FastAPI:
    """The service of a workspace. Its threads live from start-up to shut-down of the returned application."""
    service = LiveService(ws)
    config = service.config
    keys = KeyTable(ws.database, master=config.api_key, may_be_open=config.host in LOOPBACK, own=own_key(ws.home))
    fetcher = Fetcher(config.uri_prefixes, max_bytes=config.max_body_bytes, timeout_s=config.uri_timeout_s)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            fetcher.close()
            keys.close()
            await asyncio.to_thread(service.close)

    app = FastAPI(
        title="Omniloop",
        version="1",
        lifespan=lifespan,
        docs_url=None,  # both pages would load scripts from somebody else's server
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,  # to the host that the client names
    )
    app.state.service, app.state.bodies = service, BodyBudget(config.body_bytes)
    asking = Asking(service, fetcher)
    for router in (
        routes(service, asking, Intake(service, fetcher)),
        control(service),
        v2(service, asking),
        edge_sync(service),
    ):
        app.router.routes.extend(router.routes)
    add_health(app, service)
    add_errors(app)
    app.add_middleware(
        Door,
        keys=keys,
        scopes=ScopeTable(lambda: app.routes),
        metrics=service.metrics,
        hosts={*LOOPBACK, config.host.lower()},
        tracing=service.tracing,
    )
    app.openapi = lambda: openapi(app)  # type: ignore[method-assign]
    return app


def add_health(app: FastAPI, service: LiveService) -> None:
    """Health and metrics."""
    not_yet: dict[int | str, dict[str, Any]] = {503: {"model": HealthOut, "description": "Not (yet)"}}

    @app.get("/health/live", openapi_extra=needs(OPEN))
    async def live() -> HealthOut:
        """The process answers."""
        return HealthOut(status="live")

    @app.get("/health/started", responses=not_yet, response_model=HealthOut, openapi_extra=needs(OPEN))
    async def started() -> Response:
        """The database was read, and the version that it names was tried."""
        ok = service.watch.has_looked
        return told(HealthOut(status="started" if ok else "starting"), ok=ok)

    @app.get("/health/ready", responses=not_yet, response_model=HealthOut, openapi_extra=needs(OPEN))
    async def ready() -> Response:
        """A canary was answered within its deadline just now."""
        if service.engine.served is None:
            reason = service.watch.refusal or NOTHING_SERVED
            return told(HealthOut(status="not ready", reason=reason), ok=False)
        try:
            deadline_s = service.config.ready_deadline_s
            answer = await asyncio.get_running_loop().run_in_executor(None, canary, service, deadline_s)
        except (OmniError, ValueError) as error:
            return told(HealthOut(status="not ready", reason=str(error)), ok=False)
        return told(HealthOut(status="ready", version=answer, reason=service.watch.refusal), ok=True)

    for path, answer in (("live", live), ("started", started), ("ready", ready)):
        app.head(f"/health/{path}", include_in_schema=False, response_model=None, openapi_extra=needs(OPEN))(answer)

    @app.get("/metrics", response_class=PlainTextResponse, responses=REFUSALS, openapi_extra=needs("operate"))
    async def metrics() -> Response:
        """Prometheus's text format."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def canary(service: LiveService, deadline_s: float) -> int:
    """The version that answered a canary."""
    return service.engine.canary(deadline_s=deadline_s).version


def told(health: HealthOut, *, ok: bool) -> Response:
    """A state of health with the status that probes look at."""
    return JSONResponse(health.model_dump(), 200 if ok else 503, {"Cache-Control": "no-store"})


def add_errors(app: FastAPI) -> None:
    """Every error as JSON with fact, value and mend."""

    async def refuse(request: HttpRequest, error: Exception) -> Response:
        fault = fault_of(error)
        request_id = getattr(request.state, "request_id", "")
        if fault is None:
            logger.error("request %s failed", request_id, exc_info=error)
            fact = f"The service failed: {type(error).__name__}."
            mend = f"Look for {request_id} in the service's log, and report it."
            fault = Fault(500, fact, "", mend, {"X-Request-ID": request_id})  # this passes by the door
        return refusal(request.url.path, fault, request_id)

    async def unrouted(request: HttpRequest, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        mend = "See /v1/openapi.json for what can be asked, and how."
        value, headers = f"{request.method} {request.url.path}", dict(error.headers or {})
        return await refuse(request, Fault(error.status_code, f"{error.detail}.", shown(value), mend, headers))

    app.add_exception_handler(HTTPException, unrouted)

    async def gone(request: HttpRequest, error: Exception) -> Response:
        return Response(status_code=400)  # nobody reads it

    app.add_exception_handler(ClientDisconnect, gone)

    async def unfit(request: HttpRequest, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        mend = "Correct it; /v1/openapi.json has the form."
        return await refuse(request, Fault(422, f"{place}: {first['msg']}.", shown(first.get("input", "")), mend))

    app.add_exception_handler(RequestValidationError, unfit)
    for kind in (Fault, ValueError, DatabaseError, OmniError, Exception):
        app.add_exception_handler(kind, refuse)


def openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with the bodies that routes read themselves."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=version("omniloop"), routes=app.routes)
        _, bodies = models_json_schema(
            [(form, "validation") for form in BODIES], ref_template="#/components/schemas/{model}"
        )
        parts = document.setdefault("components", {})
        parts.setdefault("schemas", {}).update(bodies["$defs"])
        parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        app.openapi_schema = document
    return app.openapi_schema
