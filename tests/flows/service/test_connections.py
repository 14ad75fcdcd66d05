"""Heads, half-sent requests, bodies and connections are bounded, and strangers' names are not answered to."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import httpx
import pytest

from flows.settings import Settings
from flows.workspace import Workspace
from tests.flows.service.running import running, told, wait_for

GOOD = {"task": "digit", "inputs": {"text": "tres"}}
BODY = json.dumps(GOOD).encode()


@pytest.fixture
def strict(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A service with small bounds."""
    limits = {"READ_TIMEOUT_S": "0.5", "MAX_CONNECTIONS": "8", "MAX_BODY_BYTES": "100000", "BODY_BYTES": "200000"}
    for name, value in limits.items():
        monkeypatch.setenv(f"OMNI_SERVICE__{name}", value)
    with running(ws.with_(settings=Settings.load())) as (client, _):
        yield client


def connected(client: httpx.Client, sent: bytes = b"") -> socket.socket:
    """A connection over which this was sent."""
    url = urlsplit(str(client.base_url))
    connection = socket.create_connection((url.hostname, url.port), timeout=5)
    connection.sendall(sent)
    return connection


def said(connection: socket.socket) -> bytes:
    """All that comes back until the other side closes."""
    pieces: list[bytes] = []
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            piece = b""
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def head(path: str = "/v1/predict", *more: str, method: str = "POST", length: int = len(BODY)) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *more, "Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


def test_a_head_is_bounded_before_it_is_complete(refusing: httpx.Client) -> None:
    for start in (
        b"GET /health/live HTTP/1.1\r\nX: ",
        b"GET /",
        b"GET /health/live HTTP/1.1\r\n" + b"X: y\r\n" * 11_000,
    ):
        with connected(refusing) as connection:
            with suppress(OSError):  # closed while it was sent
                for _ in range(40):
                    connection.sendall(start)
                    start = b"y" * 4096
                    time.sleep(0.001)
            assert said(connection)[:12] in (b"HTTP/1.1 431", b"")
    assert refusing.get("/health/live", headers={"X": "y" * 30_000}).status_code == 200
    assert refusing.get("/health/live", headers={"X": "y" * 70_000}).status_code == 431


@pytest.mark.parametrize("sent", [b"", b"GET /health/li", head("/v1/predict", "Host: localhost"), head()[:-2]])
def test_a_request_that_does_not_come_to_its_end_is_given_up(strict: httpx.Client, sent: bytes) -> None:
    began = time.monotonic()
    with connected(strict, sent) as connection:
        answer = said(connection)
        assert answer[:12] in ((b"HTTP/1.1 408",) if sent else (b"",))
    assert 0.4 < time.monotonic() - began < 3
    assert strict.post("/v1/predict", json=GOOD).status_code == 200


def test_a_request_that_drips_is_given_up_and_one_in_pieces_is_answered(strict: httpx.Client) -> None:
    began = time.monotonic()
    with connected(strict, head("/v1/predict", "Host: localhost")) as connection, suppress(OSError):
        for place in range(20):
            connection.sendall(BODY[place : place + 1])
            time.sleep(0.05)
        assert said(connection)[:12] in (b"HTTP/1.1 408", b"")
    assert time.monotonic() - began < 3
    pieces = (BODY[start : start + 7] for start in range(0, len(BODY), 7))
    assert strict.post("/v1/predict", content=pieces, headers={"Content-Type": "application/json"}).status_code == 200
    time.sleep(0.8)  # a connection between requests is no request that takes long
    assert strict.post("/v1/predict", json=GOOD).status_code == 200


def test_connections_are_bounded_and_those_that_go_make_room(strict: httpx.Client) -> None:
    with ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(connected(strict))
        with httpx.Client(base_url=strict.base_url, trust_env=False) as late:
            assert late.get("/health/live").status_code == 503
    with httpx.Client(base_url=strict.base_url, trust_env=False) as late:
        wait_for(lambda: late.get("/health/live").status_code == 200, 3)


def test_bodies_on_their_way_in_are_bounded_together(strict: httpx.Client) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connected(strict, head(length=95_000) + b" " * 64_000))
        time.sleep(0.2)
        refused = strict.post("/v1/predict", json={**GOOD, "instruction": "x" * 50_000})
        assert refused.status_code == 503, refused.text
        assert refused.headers["Retry-After"] == "1"
        assert told(refused)["fact"] == "Too many bodies are being read at once."
    time.sleep(0.2)
    assert strict.post("/v1/predict", json=GOOD).status_code == 200
    assert strict.post("/v1/predict", json={**GOOD, "instruction": "x" * 50_000}).status_code == 422


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil", ""])
def test_where_no_key_is_asked_for_only_the_machines_own_names_are_answered_to(
    refusing: httpx.Client, host: str
) -> None:
    refused = refusing.post("/v1/predict", json=GOOD, headers={"Host": host})
    assert refused.status_code == 403
    assert "keys create" in told(refused)["mend"]


def test_the_machines_own_names_are_answered_to_by_any_port(refusing: httpx.Client) -> None:
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:8765", "[::1]:8765"):
        own = {"Host": host, "Origin": "http://localhost:3000"}
        assert refusing.post("/v1/predict", json=GOOD, headers=own).status_code == 200, host


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://localhost.evil.example"])
def test_pages_of_other_hosts_are_refused_where_no_key_is_asked_for(refusing: httpx.Client, origin: str) -> None:
    refused = refusing.post("/v1/predict", json=GOOD, headers={"Origin": origin})
    assert refused.status_code == 403
    assert told(refused)["value"] == origin


def test_who_sends_a_key_may_call_the_service_by_any_name(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNI_SERVICE__API_KEY", "0123456789abcdef")
    with running(ws.with_(settings=Settings.load())) as (client, _):
        named = {"Host": "models.example.org", "Authorization": "Bearer 0123456789abcdef"}
        assert client.post("/v1/predict", json=GOOD, headers=named).status_code == 200


def test_two_keys_in_one_request_are_refused(refusing: httpx.Client) -> None:
    refused = refusing.get("/v1/versions", headers=[("Authorization", "Bearer a"), ("Authorization", "Bearer b")])
    assert refused.status_code == 400
    assert told(refused)["fact"] == "The request has more than one Authorization header."


def test_nobody_is_sent_elsewhere_for_a_slash(refusing: httpx.Client) -> None:
    assert refusing.get("/v1/versions/").status_code == 404


@pytest.mark.parametrize("path", ["/health/live", "/health/started", "/health/ready"])
def test_probes_may_ask_for_the_head_alone(refusing: httpx.Client, path: str) -> None:
    assert (refusing.head(path).status_code, refusing.head(path).content) == (200, b"")
