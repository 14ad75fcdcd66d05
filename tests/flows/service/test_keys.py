"""Keys: hashed, scoped, revoked within a second; routes that declare no scope are opened by nobody."""

import hashlib
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from db.keys import new_key
from db.repository import feedback
from db.repository import keys as stored_keys
from flows.cli import app as cli
from flows.service.keys import ANY, OPEN, KeyTable
from flows.service.live import LiveService
from flows.service.own_key import own_key
from flows.service.scopes import FIELD, ScopeTable
from flows.workspace import Workspace
from tests.flows.service.running import running, told, wait_for

GOOD = {"task": "digit", "inputs": {"text": "tres"}}
SCOPES = {"predict", "feedback", "operate", "approve", "admin", ANY, OPEN}


def add(ws: Workspace, name: str, *scopes: str, budget: float | None = None) -> str:
    """A new key in the database."""
    key, kept = new_key(name, scopes, budget=budget)
    with ws.database.write() as session:
        stored_keys.add_key(session, kept, who="ann", now=ws.clock())
    return key


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def origin(ws: Workspace, prediction: str) -> str:
    """Who gave the feedback on a prediction."""
    with ws.database.read() as session:
        found = feedback.get(session, prediction)
    assert found is not None
    return found.origin


@pytest.fixture
def guarded(ws: Workspace) -> Iterator[tuple[httpx.Client, dict[str, str], LiveService]]:
    """A running service with a key for each scope."""
    known = {scope: add(ws, scope, scope) for scope in ("predict", "feedback", "operate", "approve", "admin")}
    with running(ws) as (client, live):
        yield client, known, live


def test_every_operation_of_the_document_declares_its_scope(refusing: httpx.Client) -> None:
    document = refusing.get("/v1/openapi.json").json()
    operations = [
        (method, path, operation) for path, item in document["paths"].items() for method, operation in item.items()
    ]
    assert len(operations) > 20
    for method, path, operation in operations:
        assert operation.get(FIELD) in SCOPES, f"{method} {path} declares no scope. Add needs(…) to its route."
        assert bool(operation["security"]) == (operation[FIELD] != OPEN)
    assert {path for _, path, operation in operations if operation[FIELD] == OPEN} == {
        "/health/live",
        "/health/started",
        "/health/ready",
        "/v2/health/live",
        "/v2/health/ready",
    }


def test_a_route_without_a_scope_is_opened_by_nobody() -> None:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/forgotten")
    async def forgotten() -> None: ...

    @app.get("/forgotten/{id_}")
    async def also(id_: str) -> None: ...

    table = ScopeTable(lambda: app.routes)
    for path in ("/forgotten", "/forgotten/1", "/forgotten\n"):
        assert table.of({"type": "http", "method": "GET", "path": path, "headers": []}) is None
    assert table.of({"type": "http", "method": "GET", "path": "/nowhere", "headers": []}) == ANY


def test_a_key_opens_what_its_scopes_say_and_nothing_else(
    guarded: tuple[httpx.Client, dict[str, str], LiveService],
) -> None:
    client, known, _ = guarded
    asked: list[tuple[str, str, str, Any]] = [
        ("predict", "POST", "/v1/predict", GOOD),
        ("predict", "POST", "/v1/predict/batch", {"samples": [GOOD]}),
        ("predict", "POST", "/v2/models/omniloop/infer", {}),
        ("feedback", "POST", "/v1/feedback", {"prediction": "none", "answer": "1"}),
        ("operate", "POST", "/v1/ingest", {}),
        ("operate", "GET", "/metrics", None),
        ("approve", "POST", "/v1/versions/9/approve", {"why": "x"}),
        ("approve", "POST", "/v1/versions/9/reject", {"why": "x"}),
        ("approve", "POST", "/v1/versions/9/rollback", {"why": "x"}),
        ("admin", "DELETE", "/v1/samples/none?why=x", None),
    ]
    for scope, method, path, body in asked:
        for name, key in known.items():
            status = client.request(method, path, json=body, headers=bearer(key)).status_code
            assert (status == 403) == (name not in (scope, "admin")), (scope, path, name, status)
            assert status not in (401, 500)
    for path in ("/v1/versions", "/v1/openapi.json", "/v2", "/v1/nowhere"):
        told_or_not = client.get(path)
        assert told_or_not.status_code == 401
        assert told_or_not.headers["WWW-Authenticate"] == "Bearer"
        assert client.get(path, headers=bearer(known["feedback"])).status_code != 401
    for wrong in ("omni_", known["admin"][:-1], known["admin"] + "0", "é", "a b"):
        assert client.get("/v1/versions", headers={b"Authorization": b"Bearer " + wrong.encode()}).status_code == 401
    assert client.get("/v1/versions", headers={"Authorization": "Bearer"}).status_code == 401
    assert client.get("/v1/versions", headers={"Authorization": known["admin"]}).status_code == 401
    assert client.get("/health/ready").status_code == 200
    assert "error" in client.get("/v2").json()


def test_a_revoked_key_opens_nothing_within_a_second_and_a_new_one_does(
    guarded: tuple[httpx.Client, dict[str, str], LiveService], ws: Workspace
) -> None:
    client, known, _ = guarded
    assert client.post("/v1/predict", json=GOOD, headers=bearer(known["predict"])).status_code == 200
    with ws.database.write() as session:
        stored_keys.revoke_key(session, "predict", who="ann", now=ws.clock())
    took = wait_for(lambda: client.post("/v1/predict", json=GOOD, headers=bearer(known["predict"])).is_error, 3)
    assert took < 1
    fresh = add(ws, "fresh", "predict")
    took = wait_for(lambda: client.post("/v1/predict", json=GOOD, headers=bearer(fresh)).is_success, 3)
    assert took < 1


def test_while_the_database_cannot_be_read_known_keys_go_on_and_unknown_ones_do_not(
    guarded: tuple[httpx.Client, dict[str, str], LiveService], ws: Workspace
) -> None:
    client, known, _ = guarded
    assert client.post("/v1/predict", json=GOOD, headers=bearer(known["predict"])).status_code == 200
    file = ws.home / "omniloop.db"
    with ws.database.read() as session:
        kept = stored_keys.list_keys(session)
    assert len(kept) == 5
    ws.database.close()
    file.rename(file.with_suffix(".away"))
    try:
        file.mkdir()  # nothing can be opened here
        time.sleep(0.7)
        assert client.post("/v1/predict", json=GOOD, headers=bearer(known["predict"])).status_code == 200
        assert client.post("/v1/predict", json=GOOD, headers=bearer("omni_x_y")).status_code == 401
    finally:
        file.rmdir()
        file.with_suffix(".away").rename(file)


def test_until_the_first_key_is_created_the_machines_own_service_is_open(ws: Workspace) -> None:
    with running(ws) as (client, _):
        assert client.post("/v1/predict", json=GOOD).status_code == 200
        add(ws, "app", "predict")
        assert wait_for(lambda: client.post("/v1/predict", json=GOOD).status_code == 401, 3) < 1
        with ws.database.write() as session:
            stored_keys.revoke_key(session, "app", who="ann", now=ws.clock())
        time.sleep(0.7)
        assert client.post("/v1/predict", json=GOOD).status_code == 401  # revoking the last key opens nothing


def test_at_an_address_of_the_network_nothing_is_open_without_a_key(ws: Workspace) -> None:
    table = KeyTable(ws.database, master="", may_be_open=False)
    assert not table._is_open
    assert not table._callers
    table.close()


def test_the_budget_of_a_key_bounds_its_answers(ws: Workspace) -> None:
    thrifty, free = add(ws, "thrifty", "predict", budget=0.25), add(ws, "free", "predict")

    def budget(key: str, **more: object) -> Any:
        return client.post("/v1/predict", json={**GOOD, **more}, headers=bearer(key)).json()["budget"]

    with running(ws) as (client, _):
        assert budget(thrifty) == 0.25
        assert budget(thrifty, budget=0.9) == 0.25
        assert budget(thrifty, budget=0.1) == 0.1
        assert budget(free) is None
        assert budget(free, budget=0.9) == 0.9


def test_feedback_and_decisions_bear_the_name_of_the_key(
    guarded: tuple[httpx.Client, dict[str, str], LiveService], ws: Workspace
) -> None:
    client, known, _ = guarded
    id_ = client.post("/v1/predict", json=GOOD, headers=bearer(known["predict"])).json()["prediction"]
    body = {"prediction": id_, "answer": "3"}
    assert client.post("/v1/feedback", json=body, headers=bearer(known["feedback"])).json()["new"]
    assert origin(ws, id_) == "human:feedback"
    other = client.post("/v1/predict", json=GOOD, headers=bearer(known["predict"])).json()["prediction"]
    signed = {"prediction": other, "answer": "3", "who": "ann"}
    assert client.post("/v1/feedback", json=signed, headers=bearer(known["feedback"])).json()["new"]
    assert origin(ws, other) == "human:ann via feedback"
    refused = client.post("/v1/versions/1/rollback", json={"why": "x", "who": "eve"}, headers=bearer(known["approve"]))
    assert refused.status_code == 409
    told(refused)


def test_the_command_line_creates_lists_and_revokes(ws: Workspace) -> None:
    def run(*args: str) -> str:
        done = CliRunner().invoke(cli, ["keys", *args])
        assert done.exit_code == 0, done.output
        return done.stdout.strip()

    assert "There is no key" in run("list")
    key = run("create", "app", "--scope", "predict", "--scope", "feedback", "--budget", "0.5")
    mark, prefix, secret = key.split("_")
    assert (mark, len(prefix), len(secret)) == ("omni", 8, 64)
    with ws.database.read() as session:
        (kept,) = stored_keys.list_keys(session)
    assert kept.digest == hashlib.sha256(key.encode()).hexdigest()
    assert (kept.scopes, kept.detail) == (("predict", "feedback"), {"budget": 0.5})
    assert secret not in run("list")
    assert prefix in run("list")
    assert "is revoked" in run("revoke", "app", "--why", "left")
    assert "was revoked before" in run("revoke", "app")
    for wrong in (["create", "app", "--scope", "predict"], ["create", "b", "--scope", "fly"], ["revoke", "nobody"]):
        assert CliRunner().invoke(cli, ["keys", *wrong]).exit_code != 0
    for wrong in (["create", "b"], ["create"]):
        assert CliRunner().invoke(cli, ["keys", *wrong]).exit_code == 2


def test_the_pulse_of_the_home_reads_the_metrics_and_nothing_more(ws: Workspace) -> None:
    add(ws, "app", "predict")  # from the first key on, nobody comes in without one
    key = own_key(ws.home)
    assert key == own_key(ws.home)
    assert (ws.home / "service.key").stat().st_mode & 0o777 == 0o600
    with running(ws) as (client, _):
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers=bearer(key)).status_code == 200
        assert client.post("/v1/predict", json=GOOD, headers=bearer(key)).status_code == 403
        assert client.post("/v1/versions/1/rollback", json={"why": "x"}, headers=bearer(key)).status_code == 403
