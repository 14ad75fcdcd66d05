"""Traces of rounds: every step is a span, and all work on a round is one trace."""

from typing import Any

import pytest

from db.records import Round
from flows.settings import Settings
from flows.steps.rounds import run_round
from flows.watch import watch
from flows.workspace import Workspace, use
from tests.flows import homes
from tests.flows.collectors import collecting


def test_a_round_that_fails_and_is_taken_up_again_is_one_trace(
    ws: Workspace, right: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        monkeypatch.setenv("OMNI_TRACING__RATIO", "0")
        traced = ws.with_(settings=Settings.load())
        waiting = run_round(traced, "manual")
        homes.label_waiting(traced, right)

        def failing(step: Any) -> Any:
            def run(ws: Workspace, round_: Round) -> None:
                if step.__name__ == "do_tune":
                    raise OSError("the disk of customer 4711 is full")
                step(ws, round_)

            return run

        with pytest.raises(OSError, match="customer"):
            run_round(traced, "resume", wrap=failing)
        done = run_round(traced, "resume")
    assert done.decision is not None
    assert {span.trace_id for span in collector.spans} == {waiting.round.key}
    assert len(collector.named("round")) == 3
    steps = [span for span in collector.spans if span.name != "round"]
    assert {span.about["omniloop.round"] for span in steps} == {waiting.round.id}
    names = [span.name for span in sorted(steps, key=lambda span: span.began_s)]
    assert names == ["filter", "labels", "labels", "tune", "tune", "register", "validate", "decide"]
    failed = [span for span in steps if span.is_error]
    assert [(span.name, span.says) for span in failed] == [("tune", "OSError")], "never what it failed on"
    versions = {span.name: span.about.get("omniloop.version") for span in steps}
    assert versions["decide"] == versions["register"] == done.decision.release.version
    assert versions["filter"] is None


def test_another_flow_is_a_trace_of_its_own(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        with use(ws):
            watch.fn()
    (span,) = collector.spans
    assert (span.name, span.parent, span.is_error) == ("watch", "", False)
    assert span.ended_s > span.began_s
