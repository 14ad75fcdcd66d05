"""Which scope a request needs. Every route declares its own; what declares none is opened by nobody."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from flows.service.keys import ANY, OPEN

FIELD = "x-scope"
"""Where a route's scope stands in the OpenAPI document."""
OWN: Mapping[str, str] = {"/v1/openapi.json": ANY}
"""Routes that FastAPI adds by itself."""


def needs(scope: str, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """OpenAPI's words for what a route needs, beside `more` of them."""
    security: list[dict[str, list[str]]] = [] if scope == OPEN else [{"key": []}]
    return {FIELD: scope, "security": security, **(more or {})}


class ScopeTable:
    """The scopes of an application's routes, which are asked for at the first request, when all are there."""

    def __init__(self, routes: Callable[[], Sequence[BaseRoute]]) -> None:
        self._routes = routes
        self._plain: dict[tuple[str, str], str | None] | None = None

    def of(self, scope: Scope) -> str | None:
        """The scope that a request needs; None if its route declares none, `any` if there is no such route."""
        if self._plain is None:
            self._plain = plain(self._routes())
        key = (scope["method"], scope["path"])
        if key in self._plain:
            return self._plain[key]
        for route in self._routes():
            if route.matches(scope)[0] is Match.FULL:
                return declared(route)
        return ANY


def plain(routes: Sequence[BaseRoute]) -> dict[tuple[str, str], str | None]:
    """The scopes of routes without parameters, by method and path."""
    found: dict[tuple[str, str], str | None] = {}
    for route in routes:
        path = getattr(route, "path", "{")
        if "{" not in path:
            for method in getattr(route, "methods", None) or ():
                found.setdefault((method, path), declared(route))
    return found


def declared(route: BaseRoute) -> str | None:
    """What a route says of itself."""
    words = getattr(route, "openapi_extra", None) or {}
    return words.get(FIELD) or OWN.get(getattr(route, "path", ""))
