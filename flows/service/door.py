"""The door in front of all routes: request ids, keys and what they open, no requests of other people's web pages."""

import logging
import os
import re
import time
from collections.abc import Collection
from functools import cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.service.faults import Fault
from flows.service.keys import ANYBODY, OPEN, Caller, KeyTable
from flows.service.metrics import Metrics
from flows.service.places import check_once, check_place
from flows.service.scopes import ScopeTable
from flows.service.wire import refusal
from flows.trace import OFF, UNTRACED, Tracing

logger = logging.getLogger(__name__)

SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
TRACED = ("/v1/", "/v2/")
"""Paths whose requests are traced: all but health and metrics."""
WANTED = (b"x-request-id", b"sec-fetch-site", b"authorization", b"host", b"origin")


class Door:
    """ASGI middleware. The client's `X-Request-ID` is taken if it is a plain word, and goes back with every answer."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: KeyTable,
        scopes: ScopeTable,
        metrics: Metrics,
        hosts: Collection[str],
        tracing: Tracing = OFF,
    ) -> None:
        self._hosts, self._tracing = hosts, tracing
        self._app, self._keys, self._scopes = app, keys, scopes
        self._count = cache(lambda route, status: metrics.requests.labels(route, str(status)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, name = time.monotonic(), 500, ""
        given_headers = [pair for pair in scope["headers"] if pair[0] in WANTED]
        headers = dict(given_headers)
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if given and SAFE_ID.fullmatch(given) else os.urandom(16).hex()
        state = scope.setdefault("state", {})
        trace = self._tracing.begin(scope["headers"]) if scope["path"].startswith(TRACED) else UNTRACED
        state["request_id"], state["trace"] = request_id, trace

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            try:
                if len(headers) < len(given_headers):
                    check_once(given_headers)
                state["caller"] = caller = await self._admit(scope, headers)
            except Fault as fault:
                await refusal(scope["path"], fault, request_id)(scope, receive, answer)
            else:
                name = caller.name
                await self._app(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            self._count(route, status).inc()
            if logger.isEnabledFor(logging.INFO):
                seconds = round(time.monotonic() - began, 6)
                fields = {"request_id": request_id, "route": route, "status": status, "seconds": seconds, "key": name}
                fields |= {"trace_id": trace.id} if trace.id else {}
                logger.info("%s %s %d", scope["method"], route, status, extra=fields)
            trace.end(f"{scope['method']} {route}", status, {"http.route": route, "omniloop.request": request_id})

    async def _admit(self, scope: Scope, headers: dict[bytes, bytes]) -> Caller:
        """Who asks. Raises :class:`Fault` for who may not."""
        site = headers.get(b"sec-fetch-site", b"none")
        if site not in (b"none", b"same-origin"):
            mend = "Ask from your own server rather than from a page of another origin."
            value = f"Sec-Fetch-Site: {site.decode('latin-1')}"
            raise Fault(403, "Requests of web pages of another origin are refused.", value, mend)
        needed = self._scopes.of(scope)
        if needed == OPEN:
            return ANYBODY
        scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        caller = await self._keys.caller(key.strip() if scheme.lower() == "bearer" else "")
        if caller is ANYBODY:
            check_place(headers, self._hosts)
        if caller is None:
            mend = "Send `Authorization: Bearer KEY` with a key of the service; `omniloop keys create` makes one."
            raise Fault(401, "The key is missing or wrong.", "not shown", mend, {"WWW-Authenticate": "Bearer"})
        if needed is None or not caller.may(needed):
            fact = f"The key {caller.name!r} has not the scope that this needs."
            mend = "Ask with another key; `omniloop keys create --scope` makes one."
            raise Fault(403, fact, needed or "no scope opens this", mend)
        return caller
