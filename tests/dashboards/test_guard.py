"""Nobody comes in who may not: each route has a role, each role opens what it should, and tricks fail."""

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from dashboards.guard import FIELD, OPEN, digest_of, guard
from db.records.keys import NewKey
from db.records.users import ROLES, may
from db.repository import keys, users
from tests.dashboards.places import BASE, OURS, Place

AT_THE_DOOR = {"/sign-in", "/sign-in/link", "/sign-in/password"}


def routes(place: Place) -> Iterator[APIRoute]:
    for route in place.app.routes:
        if isinstance(route, APIRoute):
            yield route


def test_every_route_declares_a_role_and_only_the_door_is_open(place: Place) -> None:
    for route in routes(place):
        needed = (route.openapi_extra or {}).get(FIELD)
        assert needed in (*ROLES, OPEN), f"{route.path} declares no role: register it with dashboards.pages.add"
        assert (needed == OPEN) == (route.path in AT_THE_DOOR), route.path
        if "POST" in (route.methods or ()) and needed != OPEN and route.path != "/sign-out":
            assert needed != "viewer", f"{route.path} changes something, so looking must not be enough"


def test_a_route_without_a_role_is_opened_by_nobody() -> None:
    app = FastAPI(dependencies=[Depends(guard)])
    app.add_api_route("/free", lambda: {"ok": True}, methods=["GET"])
    with TestClient(app, base_url=BASE, raise_server_exceptions=False) as client:
        assert client.get("/free").status_code == 500  # no role is a fault of ours, and opens nothing


def filled(path: str) -> str:
    """The path with a one for each number and a word for each name."""
    path = re.sub(r"\{\w+:int\}", "1", path)
    return path.replace("{", "").replace("}", "")


@pytest.mark.parametrize("role", [None, *ROLES])
def test_every_action_is_refused_to_every_role_below_its_own(place: Place, role: str | None) -> None:
    with place.as_(role) as client:
        for route in routes(place):
            needed = (route.openapi_extra or {})[FIELD]
            if needed == OPEN or (role is not None and may(role, needed)):
                continue
            for method in route.methods or ():
                answer = client.request(method, filled(route.path), headers={"Accept": "application/json"})
                assert answer.status_code == (401 if role is None else 403), (method, route.path, role)


def test_a_page_of_another_site_or_port_cannot_change_anything(place: Place) -> None:
    with place.as_("admin") as client:
        for headers in (
            {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:9999"},
            {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "none", "Origin": BASE},
        ):
            assert client.post("/sign-out", headers=headers).status_code == 403
        client.headers.pop("Sec-Fetch-Site")
        assert client.post("/sign-out", headers={"Origin": "http://127.0.0.1:9999"}).status_code == 403
        client.headers.pop("Origin")
        assert client.post("/sign-out").status_code == 403
        assert client.get("/audit").status_code == 200  # nobody was signed out


def test_another_name_for_our_address_is_refused(place: Place) -> None:
    with place.as_("admin") as client:
        assert client.get("/audit", headers={"Host": "evil.example"}).status_code == 400


def test_a_link_signs_in_once_and_the_session_gets_a_token_of_its_own(place: Place) -> None:
    now = place.clock()
    with place.database.write() as session:
        users.add_link(session, "operator", digest_of("a link"), expires_at=now + timedelta(hours=1), now=now)
    with place.as_(None) as client:
        client.cookies.set("omniloop_8766", "chosen by an attacker")
        shown = client.get("/sign-in?link=a link&next=/audit")
        assert "operator" in shown.text
        first = client.post("/sign-in/link", data={"link": "a link", "next": "/audit"})
        assert (first.status_code, first.headers["location"]) == (303, "/audit")
        cookie = first.headers["set-cookie"]
        assert "chosen by an attacker" not in cookie
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert client.get("/audit").status_code == 200
        assert client.post("/sign-in/link", data={"link": "a link"}).status_code == 401
    with place.as_(None) as other:
        other.cookies.set("omniloop_8766", "chosen by an attacker")
        assert other.get("/audit").headers["location"].startswith("/sign-in?next=")


def test_signing_in_leads_nowhere_else(place: Place) -> None:
    now = place.clock()
    for target in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        with place.database.write() as session:
            users.add_link(session, "viewer", digest_of(target), expires_at=now + timedelta(hours=1), now=now)
        with place.as_(None) as client:
            answer = client.post("/sign-in/link", data={"link": target, "next": target})
            assert answer.headers["location"] == "/"


def test_a_password_is_checked_and_guessing_is_slowed(place: Place) -> None:
    from argon2 import PasswordHasher

    with place.database.write() as session:
        users.set_password(session, "viewer", PasswordHasher().hash("a good long one"), who="tests", now=place.clock())
    with place.as_(None) as client:
        right = {"name": "viewer", "password": "a good long one"}
        assert client.post("/sign-in/password", data=right).status_code == 303
        for name in ("viewer", "nobody"):
            wrong = {"name": name, "password": "a bad one"}
            assert client.post("/sign-in/password", data=wrong).status_code == 401
        for _ in range(9):
            client.post("/sign-in/password", data=right | {"password": "again"})
        assert client.post("/sign-in/password", data=right).status_code == 429


def test_a_session_ends_by_time_idleness_signing_out_and_shutting_out(place: Place) -> None:
    with place.as_("viewer") as client:
        assert client.get("/audit").status_code == 200
        place.clock.wait(hours=13)
        assert client.get("/audit").status_code == 303
    with place.as_("operator") as client:
        client.post("/sign-out")
        client.cookies.set("omniloop_8766", "token of operator")
        assert client.get("/audit").status_code == 303
    with place.as_("approver") as client:
        with place.database.write() as session:
            users.disable_user(session, "approver", who="tests", now=place.clock())
        assert client.get("/audit").status_code == 303


def test_a_lost_role_is_lost_at_the_next_request(place: Place) -> None:
    with place.as_("viewer") as client:
        assert client.get("/audit.json").status_code == 200
        with place.database.write() as session:
            session.connection()
            users.set_role(session, "viewer", "labeller", who="tests", now=place.clock())
        assert client.get("/audit").status_code == 200
        assert "labeller" in client.get("/audit").text


def test_a_script_comes_in_with_a_key_and_needs_no_origin(place: Place) -> None:
    with place.database.write() as session:
        digest = digest_of("omni_key")
        keys.add_key(
            session, NewKey(name="ci", prefix="1", digest=digest, scopes=("approve",)), who="tests", now=place.clock()
        )
    with TestClient(place.app, base_url=BASE) as client:
        bearer = {"Authorization": "Bearer omni_key", "Accept": "application/json"}
        assert client.get("/audit.json", headers=bearer).status_code == 200
        assert client.get("/audit.json", headers=bearer | {"Authorization": "Bearer wrong"}).status_code == 401
        assert client.get("/audit.json").status_code == 401


def test_answers_carry_the_headers_that_keep_browsers_safe(place: Place) -> None:
    with place.as_("viewer") as client:
        for path in ("/audit", "/nowhere", "/static/app.css", "/sign-in"):
            answer = client.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"


def test_what_somebody_wrote_is_shown_as_text(place: Place) -> None:
    with place.database.write() as session:
        users.disable_user(session, "labeller", who="tests", why="<script>alert(1)</script>", now=place.clock())
    with place.as_("viewer") as client:
        page = client.get("/audit").text
        assert "<script>alert(1)" not in page
        assert "&lt;script&gt;alert(1)" in page


def test_headers_of_ours_are_what_a_browser_sends() -> None:
    assert OURS["Origin"] == BASE
