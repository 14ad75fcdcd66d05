"""`omniloop audit` shows the trail as it was written, and what fits only."""

import json

import pytest
from typer.testing import CliRunner

from db.repository import audit, triggers
from flows.cli import app
from flows.workspace import Workspace
from tests.flows.terminals import widen

RUN = CliRunner()


def line(ws: Workspace, who: str, why: str) -> int:
    with ws.database.write() as session:
        request = triggers.request(session, "drift", now=ws.clock())
        triggers.withdraw(session, request.id, who=who, why=why, now=ws.clock())
    return request.id


def test_the_newest_line_comes_first_with_who_what_and_why(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    widen(monkeypatch)
    first, second = line(ws, "ann", "the camera was covered"), line(ws, "bob", "[red]again[/red]")
    shown = RUN.invoke(app, ["audit"]).output
    assert shown.index(f"request {second}") < shown.index(f"request {first}") < shown.index("release 1")
    assert "[red]again[/red]" in shown
    only = RUN.invoke(app, ["audit", "--who", "ann"]).output
    assert ("covered" in only, "again" in only) == (True, False)


def test_each_line_is_json_on_request(ws: Workspace) -> None:
    line(ws, "ann", "no")
    (entry,) = map(json.loads, RUN.invoke(app, ["audit", "--json", "--subject", "request"]).output.splitlines())
    with ws.database.read() as session:
        (kept,) = audit.history(session, subject="request")
    assert (entry["id"], entry["who"], entry["numbers"]) == (kept.id, "ann", {"kind": "drift", "num_requests": 1})


def test_what_fits_nothing_is_told_with_what_there_is(ws: Workspace) -> None:
    assert "There are lines about" in RUN.invoke(app, ["audit", "--subject", "weather"]).output
    assert RUN.invoke(app, ["audit", "--version", "99"]).output == "No line fits.\n"
