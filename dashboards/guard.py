"""Who may come in: every request passes here before its page or action, and what declares no role is opened by nobody.

Browsers are known by a session cookie, scripts by a key of the service sent as a bearer token. A request that changes
something must come from a page of ours: other pages on the same host, on another port too, send the cookie along, so
`Sec-Fetch-Site` and `Origin` decide, as the browser states them.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta
from urllib.parse import urlsplit

from fastapi import Request
from sqlalchemy.orm import Session

from dashboards.problems import NotSignedIn, Problem
from dashboards.site import Person, Site
from db.records.keys import StoredKey
from db.records.users import Role
from db.repository import keys, users

FIELD = "x-role"
"""Where a route says which role it needs."""
OPEN = "open"
"""What may be seen without being signed in."""
SAFE = ("GET", "HEAD", "OPTIONS")
ROLE_OF_SCOPE: tuple[tuple[str, Role], ...] = (("admin", "admin"), ("approve", "approver"), ("operate", "operator"))
"""What a key of the service may do here; with none of these scopes, look."""


def guard(request: Request) -> None:
    """Raise a `Problem` unless this request may go on; whoever asks is then in `request.state.person`."""
    needed = role_of(request)
    if needed is None:
        raise Problem(403, "This address declares no role, so nobody may use it.")
    bearer = bearer_of(request)
    if request.method not in SAFE and not bearer:
        check_origin(request)
    person = by_key(request, bearer) if bearer else by_session(request)
    request.state.person = person
    if needed == OPEN:
        return
    if person is None:
        raise NotSignedIn
    if not person.may(needed):
        raise Problem(403, f"This needs the role {needed}, and {person.name} is {person.role}. Ask an admin.")


def person_of(request: Request) -> Person:
    """Who asks; only where a role is needed."""
    person: Person | None = request.state.person
    if person is None:
        raise NotSignedIn
    return person


def role_of(request: Request) -> str | None:
    """The role that the route of this request needs; None if it declares none."""
    return (getattr(request.scope.get("route"), "openapi_extra", None) or {}).get(FIELD)


def check_origin(request: Request) -> None:
    """Raise a `Problem` unless a change is asked for by a page of ours."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        is_ours = site == "same-origin"
    else:
        is_ours = origin is not None and urlsplit(origin).netloc == request.headers.get("host")
    if not is_ours:
        raise Problem(403, "This change was not asked for by a page of this dashboard. Use the page itself.")


def cookie_name(site: Site) -> str:
    """The session's cookie; browsers share cookies between the ports of a host, so the port is in its name."""
    prefix = "__Host-" if site.wiring.is_https else ""
    return f"{prefix}omniloop_{site.wiring.port}"


def digest_of(token: str) -> str:
    """SHA-256 of a token or link, in hex. Enough for random ones of 256 bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def by_session(request: Request) -> Person | None:
    """Who has signed in in this browser, if anybody."""
    site: Site = request.app.state.site
    token = request.cookies.get(cookie_name(site), "")
    if not token:
        return None
    now, digest = site.clock(), digest_of(token)
    with site.database.read() as session:
        found = users.session_user(session, digest, now=now, idle=timedelta(hours=site.wiring.idle_hours))
    if found is None:
        return None
    user, row = found
    if now - row.seen_at > users.SEEN_EVERY:
        with site.database.write() as session:
            users.touch_session(session, digest, now=now)
    request.state.session_digest = digest
    return Person(name=user.name, role=user.role)


def bearer_of(request: Request) -> str:
    """The key that a script sends; empty: none."""
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else ""


def by_key(request: Request, key: str) -> Person:
    """The holder of a key of the service. Raises a `Problem` (401) for one that opens nothing."""
    site: Site = request.app.state.site
    digest = digest_of(key)
    with site.database.read() as session:
        found = holder(session, digest)
    if found is None:
        raise Problem(401, "This key opens nothing. Create one with `omniloop keys create`.")
    roles: list[Role] = [role for scope, role in ROLE_OF_SCOPE if scope in found.scopes]
    return Person(name=f"key:{found.name}", role=roles[0] if roles else "viewer")


def holder(session: Session, digest: str) -> StoredKey | None:
    """The key in force with this digest."""
    in_force = (key for key in keys.list_keys(session) if key.revoked_at is None)
    return next((key for key in in_force if hmac.compare_digest(key.digest, digest)), None)
