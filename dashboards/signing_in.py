"""Coming in and going out: one-time links, passwords, sessions. A new session has a new token, whatever was sent."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from threading import Lock
from urllib.parse import urlencode, urlsplit

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from dashboards.asked import parsed, read_form
from dashboards.guard import FIELD, OPEN, cookie_name, digest_of
from dashboards.pages import Form, rendered
from dashboards.problems import Problem
from dashboards.site import Site
from db.errors import NotFound
from db.repository import users

HASHER = PasswordHasher()
NOBODY = HASHER.hash(secrets.token_hex(16))
"""Compared with when there is no such person, so that the time tells nothing."""
MAX_FAILURES = 10
WITHIN_S = 300.0


class LinkForm(Form):
    """A one-time link, used."""

    link: str
    next: str = "/"


class PasswordForm(Form):
    """Name and password."""

    name: str
    password: str
    next: str = "/"


class Failures:
    """Counts failed tries by name and by everybody, so that guessing is slow."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._tries: dict[str, deque[float]] = {}
        self._lock = Lock()

    def check(self, name: str) -> None:
        """Raise a `Problem` (429) after too many failures within a few minutes."""
        with self._lock:
            now = self._monotonic()
            for known, most in ((name, MAX_FAILURES), ("", 10 * MAX_FAILURES)):
                tries = self._tries.get(known, deque())
                while tries and now - tries[0] > WITHIN_S:
                    tries.popleft()
                if len(tries) >= most:
                    raise Problem(429, f"{len(tries)} failed tries in {WITHIN_S:.0f} s. Wait, or use a one-time link.")

    def note(self, name: str) -> None:
        """One more failure."""
        with self._lock:
            for known in (name, ""):
                self._tries.setdefault(known, deque(maxlen=10 * MAX_FAILURES)).append(self._monotonic())
            while len(self._tries) > 1_000:
                self._tries.pop(next(known for known in self._tries if known))


def add_signing_in(app: FastAPI) -> None:
    """The pages at the door."""
    failures = Failures()

    def show(request: Request) -> Response:
        link, next_ = request.query_params.get("link", ""), ours(request.query_params.get("next", "/"))
        site: Site = request.app.state.site
        with site.database.read() as session:
            user = users.link_user(session, digest_of(link), now=site.clock()) if link else None
        return rendered(
            request, "sign_in.html", link=link if user else "", user=user, is_used=bool(link and not user), next=next_
        )

    async def by_link(request: Request) -> Response:
        form = parsed(LinkForm, await read_form(request))
        return await run_in_threadpool(enter, request, form)

    async def by_password(request: Request) -> Response:
        form = parsed(PasswordForm, await read_form(request))
        failures.check(form.name)
        if not await run_in_threadpool(is_right, request.app.state.site, form):
            failures.note(form.name)
            raise Problem(401, "Name and password do not fit together. `omniloop users link NAME` prints a link.")
        return await run_in_threadpool(signed_in, request, form.name, form.next)

    def leave(request: Request) -> Response:
        site: Site = request.app.state.site
        digest = getattr(request.state, "session_digest", "")
        with site.database.write() as session:
            users.end_session(session, digest, now=site.clock())
        answer = RedirectResponse("/sign-in", status_code=303)
        answer.delete_cookie(cookie_name(site), secure=site.wiring.is_https)
        return answer

    open_ = {FIELD: OPEN}
    app.add_api_route("/sign-in", show, methods=["GET"], include_in_schema=False, openapi_extra=open_)
    app.add_api_route("/sign-in/link", by_link, methods=["POST"], include_in_schema=False, openapi_extra=open_)
    app.add_api_route("/sign-in/password", by_password, methods=["POST"], include_in_schema=False, openapi_extra=open_)
    app.add_api_route("/sign-out", leave, methods=["POST"], include_in_schema=False, openapi_extra={FIELD: "viewer"})


def enter(request: Request, form: LinkForm) -> Response:
    """Use a link up and open a session."""
    site: Site = request.app.state.site
    with site.database.write() as session:
        user = users.use_link(session, digest_of(form.link), now=site.clock())
    if user is None:
        raise Problem(401, "This link was used already, or has expired. `omniloop users link NAME` prints another.")
    return signed_in(request, user.name, form.next)


def is_right(site: Site, form: PasswordForm) -> bool:
    """Whether name and password fit; it takes as long when there is no such person."""
    with site.database.read() as session:
        try:
            user = users.get_user(session, form.name)
        except NotFound:
            user = None
    known = user is not None and user.disabled_at is None and user.password is not None
    try:
        return HASHER.verify(user.password if user and user.password and known else NOBODY, form.password) and known
    except (VerificationError, InvalidHashError):
        return False


def signed_in(request: Request, name: str, next_: str) -> Response:
    """A new session with a new token; the one that the browser came with ends."""
    site: Site = request.app.state.site
    token, now = secrets.token_urlsafe(32), site.clock()
    expires = now + timedelta(hours=site.wiring.session_hours)
    with site.database.write() as session:
        if before := getattr(request.state, "session_digest", ""):
            users.end_session(session, before, now=now)
        users.open_session(session, name, digest_of(token), expires_at=expires, now=now)
    answer = RedirectResponse(ours(next_), status_code=303)
    answer.set_cookie(
        cookie_name(site),
        token,
        max_age=int(site.wiring.session_hours * 3600),
        httponly=True,
        samesite="lax",
        secure=site.wiring.is_https,
        path="/",
    )
    return answer


def ours(path: str) -> str:
    """A path of this site; anything that leads elsewhere becomes the overview.

    >>> ours("/versions?x=1"), ours("https://elsewhere/"), ours("//elsewhere"), ours("/\\\\elsewhere")
    ('/versions?x=1', '/', '/', '/')
    """
    parts = urlsplit(path)
    is_path = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if is_path and not parts.scheme and not parts.netloc else "/"


def to_sign_in(request: Request) -> Response:
    """Where somebody is sent who is not signed in, to come back afterwards."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"/sign-in?{urlencode({'next': request.url.path + query})}", status_code=303)
