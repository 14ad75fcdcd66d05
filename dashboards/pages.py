"""The two shapes of everything here: a page is looked at, an action changes something.

A page is one path, one function that builds a typed context, one template, and one JSON twin of the context at the same
path with `.json`. An action is one POST with one typed form, and says what came of it; the browser is then sent to a
page. Both name the role that they need; what names none is opened by nobody (`dashboards.guard`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints
from urllib.parse import quote, unquote, urlsplit

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from dashboards.asked import parsed, read_form
from dashboards.guard import FIELD, person_of
from dashboards.site import Deed, Done, Site, Visit
from db.errors import IllegalMove
from db.records.users import Role

Asks = TypeVar("Asks", bound=BaseModel)
SAID = "omniloop_said"
"""The cookie that carries what came of an action to the next page."""


class Nothing(BaseModel):
    """A page that asks for nothing."""

    model_config = ConfigDict(extra="ignore")


class Form(BaseModel):
    """The base of forms: what it does not know is refused, and surrounding blanks are no answer."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


@dataclass(frozen=True, kw_only=True)
class Page:
    """Something to look at."""

    path: str
    title: str
    template: str
    build: Callable[[Visit, Any], Any]
    """Visit and parameters to context: a frozen dataclass of plain values and records, annotated as such."""
    asks: type[BaseModel] = Nothing
    """What the path and the query may say."""
    role: Role = "viewer"
    entry: str = ""
    """The menu's entry that is lit; empty: that of the path's first part."""
    topics: tuple[str, ...] = ()
    """Changes after which an open page looks again, of `db.repository.changes`."""

    @property
    def twin(self) -> str:
        """Where the JSON is."""
        return "/index.json" if self.path == "/" else f"{self.path}.json"


@dataclass(frozen=True, kw_only=True)
class Action:
    """Something to do."""

    path: str
    role: Role
    do: Callable[[Deed, Any], Done]
    form: type[BaseModel] = field(default=Form)


@dataclass(frozen=True, kw_only=True)
class File:
    """Something to fetch that is no page: a picture, a table as CSV, numbers of a chart."""

    path: str
    fetch: Callable[[Visit, Any], Response]
    asks: type[BaseModel] = Nothing
    role: Role = "viewer"


def add(app: FastAPI, parts: Sequence[Page | Action | File]) -> None:
    """Let the application show and do these."""
    for part in parts:
        {Page: add_page, Action: add_action, File: add_file}[type(part)](app, part)  # type: ignore[operator]


def add_page(app: FastAPI, page: Page) -> None:
    """The page and its JSON twin."""

    def show(request: Request) -> Response:
        context, visit = built(request)
        return rendered(request, page.template, page=context, visit=visit, shown=page, twin=twin_of(request, page))

    def tell(request: Request) -> Response:
        return Response(to_json(built(request)[0], inf_nan_mode="null"), media_type="application/json")

    def built(request: Request) -> tuple[Any, Visit]:
        site: Site = request.app.state.site
        asked = parsed(page.asks, {**request.query_params, **request.path_params})
        with site.database.read() as session:
            visit = visit_of(request, site, session)
            return page.build(visit, asked), visit

    needs = {FIELD: page.role}
    shape = get_type_hints(page.build)["return"]
    app.add_api_route(page.path, show, methods=["GET"], include_in_schema=False, openapi_extra=needs)
    app.add_api_route(
        page.twin,
        tell,
        methods=["GET"],
        summary=page.title,
        openapi_extra=needs | {"parameters": parameters(page.asks, page.path)},
        responses={200: {"model": shape}},
        response_class=Response,
    )


def add_file(app: FastAPI, file: File) -> None:
    """Bytes or numbers, as the function gives them."""

    def fetch(request: Request) -> Response:
        site: Site = request.app.state.site
        asked = parsed(file.asks, {**request.query_params, **request.path_params})
        with site.database.read() as session:
            return file.fetch(visit_of(request, site, session), asked)

    extra = {FIELD: file.role, "parameters": parameters(file.asks, file.path)}
    app.add_api_route(file.path, fetch, methods=["GET"], openapi_extra=extra, response_class=Response)


def add_action(app: FastAPI, action: Action) -> None:
    """The POST: done entirely, or refused with the reason; a browser is shown a page, a script is told in JSON."""

    async def act(request: Request) -> Response:
        form = parsed(action.form, await read_form(request))
        site: Site = request.app.state.site
        deed = Deed(site=site, person=person_of(request), now=site.clock(), path=request.path_params)
        done = await run_in_threadpool(action.do, deed, form)
        if wants_json(request):
            return JSONResponse({"message": done.message, "to": done.to})
        answer = RedirectResponse(done.to or came_from(request), status_code=303)
        if done.message:
            answer.set_cookie(SAID, quote(done.message[:600]), max_age=20, httponly=True, samesite="lax")
        return answer

    body = {"content": {"application/x-www-form-urlencoded": {"schema": action.form.model_json_schema()}}}
    extra = {FIELD: action.role, "requestBody": body}
    app.add_api_route(action.path, act, methods=["POST"], openapi_extra=extra, response_class=Response)


def rendered(request: Request, template: str, *, status: int = 200, **names: Any) -> Response:
    """A page; what the last action said is shown once."""
    said = unquote(request.cookies.get(SAID, ""))
    html = request.app.state.templates.get_template(template).render(
        request=request, site=request.app.state.site, said=said, **names
    )
    answer = HTMLResponse(html, status_code=status, headers={"Cache-Control": "no-store"})
    if said:
        answer.delete_cookie(SAID)
    return answer


def visit_of(request: Request, site: Site, session: Any) -> Visit:
    """One look by whoever asks."""
    url = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return Visit(site=site, session=session, person=person_of(request), now=site.clock(), url=url)


def twin_of(request: Request, page: Page) -> str:
    """The address of this page's JSON, with the same query."""
    path = "/index.json" if page.path == "/" else f"{quote(request.url.path)}.json"
    return path + (f"?{request.url.query}" if request.url.query else "")


def came_from(request: Request) -> str:
    """The page of ours that a form was on; the overview if it is not known."""
    referer = urlsplit(request.headers.get("referer", ""))
    if referer.netloc != request.headers.get("host") or not referer.path.startswith("/"):
        return "/"
    return quote(referer.path, safe="/%") + (f"?{referer.query}" if referer.query else "")


def wants_json(request: Request) -> bool:
    """Whether a script asks rather than a person's browser."""
    return request.url.path.endswith(".json") or "application/json" in request.headers.get("accept", "")


def check_seen(seen: str, now: str) -> None:
    """`IllegalMove` when what somebody decided on is not so any more: a stale page cannot act."""
    if seen != now:
        raise IllegalMove(
            f"The page that you acted on is out of date: it showed {seen!r}, and it is {now!r} by now. "
            "Look again and decide anew."
        )


def parameters(asks: type[BaseModel], path: str) -> list[dict[str, Any]]:
    """OpenAPI's words for what the path and the query may say."""
    schema = asks.model_json_schema()
    return [
        {
            "name": name,
            "in": "path" if f"{{{name}" in path else "query",
            "required": f"{{{name}" in path or name in schema.get("required", ()),
            "schema": each,
        }
        for name, each in schema.get("properties", {}).items()
    ]
