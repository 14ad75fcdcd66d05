"""The pages as one application: what is shown and done, who is let in, and what every answer carries."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request
from starlette.exceptions import HTTPException as PlainHTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from dashboards.changes import Hub, add_changes
from dashboards.guard import guard
from dashboards.headers import KeptForEver, SecurityHeaders
from dashboards.menu import MENU
from dashboards.pages import Action, File, Page, add, rendered, wants_json
from dashboards.problems import TITLES, NotSignedIn, Problem, status_of
from dashboards.rendering import STATIC, environment
from dashboards.signing_in import add_signing_in, to_sign_in
from dashboards.site import Site
from dashboards.views import PARTS
from dashboards.wiring import Wiring
from db.blobs import BlobStore
from db.engine import Database
from db.errors import DatabaseError

logger = logging.getLogger(__name__)


def utc_now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


def create_app(
    wiring: Wiring,
    *,
    clock: Callable[[], datetime] = utc_now,
    parts: Sequence[Page | Action | File] = PARTS,
) -> FastAPI:
    """The application over the stores that `wiring` names."""
    site = Site(wiring=wiring, database=Database(wiring.database_url), blobs=BlobStore(wiring.blob_url), clock=clock)
    app = FastAPI(
        title="Omniloop dashboard",
        version=wiring.version,
        dependencies=[Depends(guard)],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.site = site
    app.state.templates = environment({"menu": MENU, "wiring": wiring})
    app.mount("/static", KeptForEver(StaticFiles(directory=STATIC)), name="static")
    add_signing_in(app)
    add_changes(app, Hub(site))
    add(app, parts)
    for kind in (Problem, DatabaseError, ValueError, PlainHTTPException, Exception):
        app.add_exception_handler(kind, told)
    app.add_middleware(GZipMiddleware, minimum_size=1_000)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts(wiring), www_redirect=False)
    return app


def hosts(wiring: Wiring) -> list[str]:
    """The names by which browsers may call us; a page elsewhere that points its own name at us is refused."""
    plain = {"127.0.0.1", "localhost", "[::1]", *wiring.names}
    return sorted(plain | ({wiring.host} if wiring.host not in ("0.0.0.0", "::") else set()))


def told(request: Request, error: Exception) -> Response:
    """What went wrong, as a page or as JSON; what is our own fault goes to the log, and its words stay there."""
    status = error.status_code if isinstance(error, PlainHTTPException) else status_of(error)
    words = str(error.detail if isinstance(error, PlainHTTPException) else error)
    if status == 404 and isinstance(error, PlainHTTPException):
        words = f"There is nothing at {urlsplit(str(request.url)).path[:200]}. Go to the overview."
    if status == 500:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        words = "This is a fault of ours, and nothing was changed. The log says more."
    if isinstance(error, NotSignedIn) and request.method == "GET" and not wants_json(request):
        return to_sign_in(request)
    title = TITLES.get(status, "That did not work")
    if wants_json(request):
        return JSONResponse({"error": title, "message": words}, status_code=status)
    person = getattr(request.state, "person", None)
    return rendered(request, "problem.html", status=status, title=title, words=words, person=person)
