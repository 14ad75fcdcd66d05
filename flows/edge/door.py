"""The door of the edge: request ids, one key, and no requests of other people's web pages."""

import hmac
import re
import time
from collections.abc import Collection
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.service.faults import Fault
from flows.service.metrics import Metrics
from flows.service.places import check_once, check_place
from flows.service.wire import error_of

OPEN_PATHS = ("/health/live", "/health/ready", "/health/started")
"""Answered without a key, for whoever looks after processes."""
SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


class EdgeDoor:
    """ASGI middleware. The client's `X-Request-ID` is taken if it is a plain word, and goes on to the cloud."""

    def __init__(self, app: ASGIApp, *, api_key: str, metrics: Metrics, hosts: Collection[str]) -> None:
        self._hosts = hosts
        self._app, self._key, self._metrics = app, api_key.encode(), metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if SAFE_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {}).update(request_id=request_id, began=time.monotonic())
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            fault = self._refusal(scope["path"], headers) or self._displaced(scope["path"], headers)
            if fault is None:
                await self._app(scope, receive, answer)
            else:
                response = JSONResponse(error_of(fault, request_id), fault.status, dict(fault.headers))
                await response(scope, receive, answer)
        finally:
            self._metrics.requests.labels(getattr(scope.get("route"), "path", "unknown"), str(status)).inc()

    def _refusal(self, path: str, headers: Headers) -> Fault | None:
        """Why a request may not come in; None if it may."""
        site = headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin"):
            mend = "Ask from your own server rather than from a page of another origin."
            return Fault(403, "Requests of web pages of another origin are refused.", f"Sec-Fetch-Site: {site}", mend)
        if not self._key or path in OPEN_PATHS:
            return None
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(key.strip().encode("latin-1"), self._key):
            return None
        mend = "Send `Authorization: Bearer KEY` with the edge's key."
        return Fault(401, "The key is missing or wrong.", "not shown", mend, {"WWW-Authenticate": "Bearer"})

    def _displaced(self, path: str, headers: Headers) -> Fault | None:
        """Why a request may not come in by the host that it names; None if it may."""
        try:
            check_once(headers.raw)
            if not self._key and path not in OPEN_PATHS:
                check_place(dict(headers.raw), self._hosts)
        except Fault as fault:
            return fault
        return None
