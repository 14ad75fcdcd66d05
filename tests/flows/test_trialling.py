"""A trial is judged on the same requests, ends by itself, and moves a version only where the policy says so."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Literal

import pytest
from typer.testing import CliRunner

from db.records import NewMirror, NewPrediction, Release, Trial
from db.repository import feedback, mirrors, outbox, predictions, probation, releases, rounds, trials, versions
from flows.cli.common import console
from flows.cli.trials import app
from flows.pulse import Pulse
from flows.steps.trialling import JUDGE, judge_trial, report_of
from flows.steps.watching import watch_probation
from flows.workspace import Workspace
from tests.flows import homes
from tests.flows.service.running import add_version
from tests.flows.terminals import widen

_numbers = count()


@pytest.fixture
def candidate(ws: Workspace, tmp_path: Path) -> Release:
    """v2, made from v1 and not promoted."""
    return add_version(ws, tmp_path, 1)


def start(ws: Workspace, version: int, mode: Literal["canary", "shadow"] = "shadow") -> Trial:
    with ws.database.write() as session:
        return trials.start(session, version, mode=mode, share=0.5, who="ann", why="to see", now=ws.clock())


def live(ws: Workspace, new: str, old: str, right: str, num: int, *, told: int = 1) -> list[str]:
    """Requests with feedback that v2 answered with `new` and v1 with `old`, one of them told and the other mirrored."""
    ids = [f"both-{next(_numbers):05}" for _ in range(num)]
    mirrored, said = (2, {1: old, 2: new}) if told == 1 else (1, {1: old, 2: new})
    with ws.database.write() as session:
        rows = [NewPrediction(id=id_, version=told, task="digit", answer=said[told], confidence=0.5) for id_ in ids]
        predictions.log(session, rows, now=ws.clock())
        second = [
            NewMirror(prediction_id=id_, version=mirrored, answer=said[mirrored], confidence=0.5, latency_s=0.01)
            for id_ in ids
        ]
        mirrors.log(session, second, now=ws.clock())
        for id_ in ids:
            feedback.add(session, id_, right, origin="human:ann", now=ws.clock())
    return ids


def under(ws: Workspace, promotion: str) -> Workspace:
    loop = replace(ws.settings.loop, promotion=promotion)  # type: ignore[arg-type]
    return ws.with_(settings=ws.settings.model_copy(update={"loop": loop}))


def notices(ws: Workspace) -> Sequence[str]:
    with ws.database.read() as session:
        return [message.key for message in outbox.waiting(session, "notify")]


def test_nothing_is_judged_without_a_trial(ws: Workspace, candidate: Release) -> None:
    assert judge_trial(ws) is None
    assert not Pulse(ws).judge()


def test_the_pairs_of_a_trial_are_those_that_both_versions_answered_live(ws: Workspace, candidate: Release) -> None:
    trial = start(ws, candidate.version)
    live(ws, "1", "1", "1", 6)
    live(ws, "1", "2", "2", 2, told=2)
    report = judge_trial(ws)
    assert report is not None
    assert (report.num_new_pairs, report.state.num_both, report.state.num_lost) == (8, 6, 2)
    assert (report.agreement.num_both, report.agreement.share) == (8, 0.75)
    assert report.trial == trial
    again = judge_trial(ws)
    assert again is not None
    assert (again.num_new_pairs, again.state) == (0, report.state)


@pytest.mark.parametrize(("promotion", "state"), [("auto", "rejected"), ("manual", "awaiting_approval")])
def test_a_version_that_is_worse_fails_its_trial_and_is_rejected_only_under_the_policy_auto(
    ws: Workspace, candidate: Release, promotion: str, state: str
) -> None:
    start(ws, candidate.version, "canary")
    live(ws, "1", "2", "2", 60, told=2)
    report = judge_trial(under(ws, promotion))
    assert report is not None
    assert (report.trial.outcome, report.trial.ended_by, report.trial.is_running) == ("failed", JUDGE, False)
    assert homes.states(ws)[2] == state
    assert homes.serving(ws).version == 1
    assert notices(ws)[-2:] == ["notify:trial:1:ended", f"notify:release:2:{state}"]
    ended = next(entry for entry in homes.trail(ws, 2) if entry.action == "end_trial")
    assert ended.numbers["num_pairs"] == report.state.num_pairs
    assert "accuracy 1.000 before and 0.000 now" in ended.why
    assert judge_trial(ws) is None


def pass_trial(ws: Workspace) -> None:
    live(ws, "1", "1", "1", 900)


def test_a_version_that_passes_is_promoted_if_the_gate_accepted_it_and_accepted_by_the_same_pairs(
    ws: Workspace, right: dict[str, str]
) -> None:
    report = homes.run_whole_round(under(ws, "manual"), right)
    assert report.decision is not None
    assert (report.decision.verdict, homes.states(ws)[2]) == ("accept", "awaiting_approval")
    start(ws, 2)
    pass_trial(ws)
    assert Pulse(ws).judge()
    assert homes.states(ws)[2] == "probation"
    with ws.database.read() as session:
        (trial,) = trials.history(session)
        num_pairs = probation.count_pairs(session, 2)[0]
    assert (trial.outcome, num_pairs) == ("passed", 900)
    watched = watch_probation(ws)
    assert watched is not None
    assert (watched.num_new_pairs, watched.release.state) == (0, "accepted")


@pytest.mark.parametrize("promotion", ["auto", "manual"])
def test_a_version_that_passes_waits_for_a_person_if_the_gate_did_not_accept_it(
    ws: Workspace, candidate: Release, promotion: str
) -> None:
    start(ws, candidate.version)
    pass_trial(ws)
    judge_trial(under(ws, promotion))
    assert homes.states(ws)[2] == "awaiting_approval"
    assert "omniloop models approve 2" in homes.trail(ws, 2)[-2].why


def test_the_gate_goes_before_a_trial_that_is_over_sooner(
    ws: Workspace, right: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A candidate that is registered but not decided yet is left to its round."""
    from flows.steps.rounds import run_round

    run_round(ws, "drift")
    homes.label_waiting(ws, right)
    with homes.stopping_at("decide.before_commit"):
        run_round(ws, "resume")
    with ws.database.read() as session:
        round_ = rounds.resume_target(session)
        assert round_ is not None
        assert versions.get_release(session, 2).round_id == round_.id
    start(ws, 2)
    pass_trial(ws)
    judge_trial(ws)
    assert homes.states(ws)[2] == "candidate"
    run_round(ws, "resume")
    assert homes.states(ws)[2] == "probation"
    report = watch_probation(ws)
    assert report is not None
    assert report.release.state == "accepted"


def test_a_person_who_promotes_a_version_that_failed_overrules_its_trial(ws: Workspace, candidate: Release) -> None:
    """Else the figures that the person has seen would take the version back within seconds."""
    start(ws, candidate.version)
    live(ws, "1", "2", "2", 60)
    judge_trial(under(ws, "manual"))
    with ws.database.write() as session:
        releases.promote(session, 2, who="ann", why="the feedback was wrong", now=ws.clock())
    report = watch_probation(ws)
    assert report is not None
    assert (report.release.state, report.state.num_pairs) == ("probation", 0)
    live(ws, "1", "2", "2", 60)
    report = watch_probation(ws)
    assert report is not None
    assert report.release.state == "rolled_back"


def test_feedback_that_comes_late_makes_the_pair_that_the_trial_saw(
    ws: Workspace, candidate: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(ws, candidate.version)
    with ws.database.write() as session:
        releases.promote(session, 2, who="ann", why="sure", now=ws.clock())
        assert trials.running(session) is None
    live(ws, "1", "1", "1", 3)
    monkeypatch.setattr("flows.steps.watching.scored", lambda *_: pytest.fail("it was computed again"))
    assert Pulse(ws).watch()
    with ws.database.read() as session:
        assert probation.count_pairs(session, 2) == (3, 3, 3)


def test_a_person_who_is_faster_than_the_trial_wins(
    ws: Workspace, candidate: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(ws, candidate.version)
    live(ws, "1", "2", "2", 60)
    real = report_of

    def meanwhile(ws: Workspace, trial: Trial, *, num_new_pairs: int = 0) -> object:
        with ws.database.write() as session:
            trials.end(session, who="bob", outcome="stopped", now=ws.clock())
        return real(ws, trial, num_new_pairs=num_new_pairs)

    monkeypatch.setattr("flows.steps.trialling.report_of", meanwhile)
    report = judge_trial(ws)
    assert report is not None
    assert (report.trial.outcome, report.trial.ended_by) == ("stopped", "bob")
    assert homes.states(ws)[2] == "candidate"


def test_a_trial_is_started_shown_and_stopped_by_hand(
    ws: Workspace, candidate: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    widen(monkeypatch)

    def said(*words: str) -> str:
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    assert "no trial yet" in said("show")
    started = said("start", "2", "--mode", "canary", "--share", "0.25", "--why", "to see")
    assert started == "v2 is on trial against v1: canary, 25.0% of the requests.\n"
    assert "None of them has feedback yet." in said("show")
    live(ws, "1", "1", "1", 3)
    live(ws, "1", "2", "2", 1)
    waiting = "4 have feedback that nobody has judged yet; `omniloop up` does, or `omniloop trials judge`."
    assert waiting in said("show")
    shown = said("judge")
    assert "nobody has judged" not in shown + said("show")
    assert "Both answered 4 requests and agreed on 75.0%; mean latency v2 10.0 ms, v1 unknown." in shown
    assert "4 of them have feedback that is judged: v2 was right on 75.0%, v1 on 100.0% (1 lost, 0 won); " in shown
    assert "verdict: continue." in shown
    assert said("stop", "--why", "enough") == "The trial of v2 is stopped.\n"
    assert "stopped" in said("show")
    live(ws, "1", "1", "1", 1)
    assert "nobody has judged" not in said("show")
    assert said("judge") == "No trial runs. Start one with `omniloop trials start`.\n"


def test_a_table_is_folded_where_the_terminal_is_narrow(
    ws: Workspace, candidate: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    widen(monkeypatch)
    monkeypatch.setattr(console, "width", 80)
    start(ws, candidate.version)
    stdout = CliRunner().invoke(app, ["show"], catch_exceptions=False).stdout
    assert "…" not in stdout
    assert "outcome" in stdout
    assert max(map(len, stdout.splitlines())) <= 80
