"""`omniloop status` says what the overview says, and its exit status says whether all is well."""

import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from db.records import NewMeasurement
from db.repository import alerts, measurements
from flows.cli import app
from flows.workspace import Workspace
from tests.flows.terminals import widen

RUN = CliRunner()


def told() -> tuple[int, dict[str, object]]:
    done = RUN.invoke(app, ["status", "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_what_nobody_measured_is_not_called_well(ws: Workspace) -> None:
    code, found = told()
    assert code == 3
    assert found["verdict"]["state"] == "unknown"  # type: ignore[index]
    assert found["release"]["version"] == 1  # type: ignore[index]
    assert {sign["state"] for sign in found["vitals"]} == {"no_data"}  # type: ignore[attr-defined]


def test_a_fresh_measurement_within_its_limit_makes_it_well_as_far_as_it_is_known(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    widen(monkeypatch)
    with ws.database.write() as session:
        value = NewMeasurement(
            metric="device_utilisation", value=0.5, version=1, num_samples=500, detail={"window_s": 300.0}
        )
        measurements.add(session, [value], now=ws.clock() - timedelta(seconds=20))
    done = RUN.invoke(app, ["status"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Well, as far as it is known")
    assert "v1 is in service, accepted since" in done.output
    assert "50.0 %" in done.output
    assert "at most 85.0 %, at least 30.0 %" in done.output


def test_a_firing_alert_is_the_first_thing_said_and_is_said_once(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    widen(monkeypatch)
    with ws.database.write() as session:
        alerts.raise_alert(
            session, "f", name="latency high", severity="critical", summary="p95 of [b]2 s[/b]", now=ws.clock()
        )
    done = RUN.invoke(app, ["status"])
    assert done.exit_code == 3
    assert done.output.splitlines()[:2] == ["Not well", "  latency high: p95 of [b]2 s[/b]"]
    assert done.output.count("latency high") == 1


def test_rules_that_cannot_be_read_are_told_and_nothing_is_called_well(ws: Workspace) -> None:
    (ws.home / "rules.yaml").write_text("rules: [")
    code, found = told()
    assert code == 3
    assert "rules.yaml" in found["verdict"]["reasons"][0]  # type: ignore[index]
