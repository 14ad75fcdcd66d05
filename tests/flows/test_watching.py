"""Probation: live feedback on the very same samples takes a worse version back, once, and lets a good one stay."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from db.records import Release
from db.repository import outbox, probation, releases, rounds
from flows.errors import NothingInService
from flows.reporter import SILENT
from flows.settings import Settings
from flows.steps import watching
from flows.steps.answering import answer
from flows.steps.reconciling import reconcile
from flows.steps.watching import WATCHER, watch_probation
from flows.workspace import Workspace, open_workspace
from tests.flows import homes
from tests.flows.homes import give_live_feedback, serving, states


@pytest.fixture
def worse(betrayed: Path, small: Path) -> Iterator[Workspace]:
    """v2 is on probation, worse than v1, and the feedback that tells has come in."""
    ws = open_workspace(Settings.load(home=homes.copy(betrayed, small)), SILENT)
    yield ws
    ws.database.close()


def test_a_worse_version_is_taken_back_by_itself_with_its_round_and_says_why(worse: Workspace) -> None:
    report = watch_probation(worse)
    assert report is not None
    assert (report.state.verdict, report.release.state) == ("rollback", "rolled_back")
    assert (serving(worse).version, serving(worse).previous_version) == (1, None)
    last = homes.trail(worse, 2)[-1]
    assert (last.who, last.to_state) == (WATCHER, "rolled_back")
    assert last.numbers["relative_fall"] > 0.05
    assert "accuracy" in last.why
    with worse.database.read() as session:
        assert rounds.get_round(session, 2).quarantined_at is not None


def test_an_incident_is_one_rollback_and_one_notice_however_often_it_is_looked_at(worse: Workspace) -> None:
    watch_probation(worse)
    assert watch_probation(worse) is None
    give_live_feedback(worse, "es", seed=2)
    assert watch_probation(worse) is None
    moves = Counter(entry.to_state for entry in homes.trail(worse, 2))
    assert moves["rolled_back"] == 1
    with worse.database.read() as session:
        waiting = [message.key for message in outbox.waiting(session, "notify")]
    assert waiting == ["notify:release:2:rolled_back"]
    assert serving(worse).generation == 3


def test_looking_twice_counts_no_feedback_twice(worse: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "act", lambda ws, release, state: release)
    first, second = watch_probation(worse), watch_probation(worse)
    assert first is not None
    assert second is not None
    assert (first.num_new_pairs, second.num_new_pairs) == (homes.NUM_LIVE, 0)
    assert first.state == second.state
    with worse.database.read() as session:
        assert probation.count_pairs(session, 2)[0] == homes.NUM_LIVE


def test_a_version_that_is_no_worse_is_accepted(ws: Workspace, right: dict[str, str]) -> None:
    """Under a wide limit, because to rule out a small fall takes a thousand samples."""
    homes.run_whole_round(ws, right)
    give_live_feedback(ws, "en")
    limit = replace(ws.settings.probation, max_relative_fall=0.5)
    watch_probation(ws.with_(settings=ws.settings.model_copy(update={"probation": limit})))
    assert states(ws) == {1: "accepted", 2: "accepted"}
    assert homes.trail(ws, 2)[-1].who == WATCHER


def test_a_version_without_feedback_stays_on_probation(ws: Workspace, right: dict[str, str]) -> None:
    homes.run_whole_round(ws, right)
    report = watch_probation(ws)
    assert report is not None
    assert (report.state.verdict, report.state.num_pairs, states(ws)[2]) == ("continue", 0, "probation")


def test_a_person_who_is_faster_than_the_test_wins(worse: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    real = watching.score_feedback

    def meanwhile(ws: Workspace, release: Release) -> int:
        num_new = real(ws, release)
        with ws.database.write() as session:
            releases.accept(session, 2, who="ann", why="I know better", now=ws.clock())
        return num_new

    monkeypatch.setattr(watching, "score_feedback", meanwhile)
    report = watch_probation(worse)
    assert report is not None
    assert report.release.state == "accepted"
    assert [entry.who for entry in homes.trail(worse, 2) if entry.to_state == "accepted"] == ["ann"]
    assert serving(worse).version == 2


def test_a_rollback_reaches_mlflow_and_the_log_once(worse: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    watch_probation(worse)
    caplog.set_level("INFO")
    done = reconcile(worse)
    v1 = homes.history(worse)[0].mlflow_version
    assert worse.registry.aliases() == {"champion": v1}
    assert done.num_delivered == 2
    assert reconcile(worse.with_(clock=homes.Clock(worse.clock() + timedelta(hours=1)))).num_delivered == 0
    assert len([line for line in caplog.messages if "notify:release:2:rolled_back" in line]) == 1


def test_nothing_answers_before_there_is_a_version(small: Path) -> None:
    ws = homes.opened()
    with pytest.raises(NothingInService, match="omniloop train"):
        answer(ws, ["x"])
    ws.database.close()
