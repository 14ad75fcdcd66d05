"""When a round starts by itself: one run at a time, none in vain, none forgotten. Prefect is played, the rest real."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from db.repository import alerts, samples, triggers
from flows.errors import NothingToDo
from flows.home import exclusive, held_by
from flows.round_runs import DONE, FAILED, GOING, Going, Runs
from flows.starting import Starter, what_is_due
from flows.steps.labelling import add_labels, waiting_for_labels
from flows.steps.rounds import do_labels, run_round
from flows.workspace import Workspace
from tests.flows import homes


@dataclass
class Played:
    """A Prefect that starts nothing: the test says what becomes of each run."""

    started: list[str] = field(default_factory=list)
    """What each run was told; its id is its place in this list."""
    outcomes: dict[str, str] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)
    answers: bool = True

    def going(self) -> list[Going]:
        runs = [str(number) for number in range(len(self.started))]
        return [Going(id=id_, has_begun=True) for id_ in runs if self.outcome(id_) == GOING]

    def start(self, trigger: str) -> str:
        self.started.append(trigger)
        return str(len(self.started) - 1)

    def outcome(self, run_id: str) -> str:
        return self.outcomes.get(run_id, GOING)

    def give_up(self, run_id: str) -> None:
        self.given_up.append(run_id)
        self.outcomes[run_id] = FAILED

    def end(self, outcome: str) -> None:
        """The latest run ends."""
        self.outcomes[str(len(self.started) - 1)] = outcome

    @contextmanager
    def reached(self) -> Iterator[Runs | None]:
        yield self if self.answers else None


class Stage:
    """A starter, the Prefect that it sees, and two clocks."""

    def __init__(self, ws: Workspace) -> None:
        self.clock = homes.Clock(now=datetime.now(UTC))
        self.ws = ws.with_(clock=self.clock)
        self.prefect = Played()
        self.seconds = 0.0
        self.starter = Starter(self.ws, self.prefect.reached, lambda: self.seconds)

    def request(self, kind: str = "manual") -> None:
        with self.ws.database.write() as session:
            triggers.request(session, kind, now=self.ws.clock())

    def steps(self, num: int = 5) -> list[str]:
        """Several steps; what the runs were told that they started."""
        before = len(self.prefect.started)
        for _ in range(num):
            self.starter.step()
        return self.prefect.started[before:]

    def alerts(self) -> list[str]:
        with self.ws.database.read() as session:
            return [alert.summary for alert in alerts.list_alerts(session, is_open=True)]


@pytest.fixture
def stage(ws: Workspace) -> Stage:
    return Stage(ws)


def test_without_a_request_nothing_is_started(stage: Stage) -> None:
    assert stage.steps() == []


def test_a_request_starts_one_run(stage: Stage) -> None:
    stage.request("drift")
    assert stage.steps() == ["drift"]


def test_while_a_run_is_going_none_is_started(stage: Stage) -> None:
    stage.prefect.start("schedule")
    stage.request("drift")
    assert stage.steps() == []
    stage.prefect.end(DONE)
    assert stage.steps() == ["drift"]


def test_while_a_command_works_on_a_round_none_is_started(stage: Stage) -> None:
    stage.request("drift")
    with exclusive(stage.ws.home, "a round"):
        assert stage.steps() == []
    assert stage.steps() == ["drift"]


def test_while_prefect_does_not_answer_the_request_waits(stage: Stage) -> None:
    stage.request("drift")
    stage.prefect.answers = False
    assert stage.steps() == []
    stage.prefect.answers = True
    assert stage.steps() == ["drift"]


def test_a_round_goes_on_once_its_labels_are_in(stage: Stage, right: Mapping[str, str]) -> None:
    run_round(stage.ws, "drift")
    round_ = homes.open_round(stage.ws)
    asked = waiting_for_labels(stage.ws, round_)
    stage.request("performance")
    assert stage.steps() == []
    add_labels(stage.ws, [(id_, right[id_]) for id_ in asked[:-1]], origin="human:ann")
    assert stage.steps() == []
    add_labels(stage.ws, [(id_, right[id_]) for id_ in asked[-1:]], origin="human:ann")
    assert stage.steps() == ["resume"]


def test_a_round_that_was_left_behind_is_taken_up_after_a_while(stage: Stage, right: Mapping[str, str]) -> None:
    run_round(stage.ws, "drift")
    homes.label_waiting(stage.ws, right)
    do_labels(stage.ws, homes.open_round(stage.ws))
    assert homes.open_round(stage.ws).step == "labelled"
    assert stage.steps() == []
    stage.clock.wait(minutes=3)
    assert stage.steps() == ["resume"]


def test_a_run_that_found_nothing_to_do_is_not_repeated_until_the_data_change(
    stage: Stage, right: Mapping[str, str]
) -> None:
    run_round(stage.ws, "drift")
    asked = homes.label_waiting(stage.ws, right)
    run_round(stage.ws, "resume")
    stage.request("drift")
    assert stage.steps() == ["drift"]
    stage.prefect.end(DONE)
    assert stage.steps() == []
    add_labels(stage.ws, [(asked[0], "9" if right[asked[0]] != "9" else "8")], origin="human:ann")
    assert stage.steps() == ["drift"]


def test_a_second_request_of_another_kind_is_tried_when_the_first_finds_nothing_to_do(stage: Stage) -> None:
    stage.request("drift")
    assert stage.steps() == ["drift"]
    stage.prefect.end(DONE)
    stage.request("performance")
    assert stage.steps() == ["performance"]


def test_a_failed_run_is_told_and_tried_again_later_and_later(stage: Stage) -> None:
    stage.request()
    assert stage.steps() == ["manual"]
    for pause_s in (60, 120, 240):
        stage.prefect.end(FAILED)
        assert stage.steps() == []
        (told,) = stage.alerts()
        assert f"the next try is in {pause_s} s" in told
        stage.seconds += pause_s - 1
        assert stage.steps() == []
        stage.seconds += 1
        assert stage.steps() == ["manual"]
    stage.prefect.end(DONE)
    stage.steps()
    assert stage.alerts() == []


def test_a_run_whose_process_is_gone_is_given_up(stage: Stage) -> None:
    lost = stage.prefect.start("schedule")
    stage.request("drift")
    assert stage.steps() == []
    stage.seconds += 179
    assert stage.steps() == []
    stage.seconds += 1
    assert stage.steps() == ["drift"]
    assert stage.prefect.given_up == [lost]


def test_a_run_that_works_on_a_round_is_never_given_up(stage: Stage) -> None:
    stage.prefect.start("schedule")
    stage.request("drift")
    stage.steps()
    stage.seconds += 100
    with exclusive(stage.ws.home, "a round"):
        stage.steps()
    stage.seconds += 100
    assert stage.steps() == []
    assert stage.prefect.given_up == []


def test_a_run_that_finds_nothing_to_do_leaves_the_request(stage: Stage, right: Mapping[str, str]) -> None:
    """That is why the starter has to remember: the row itself does not tell."""
    loop = replace(stage.ws.settings.loop, min_new_labels=1000)
    ws = stage.ws.with_(settings=stage.ws.settings.model_copy(update={"loop": loop}))
    with ws.database.read() as session:
        everything = [sample.id for split in ("train", "val") for sample in samples.pool(session, split=split)]
    add_labels(ws, [(id_, right[id_]) for id_ in everything], origin="human:ann")
    assert run_round(ws, "drift").round.outcome == "nothing_to_train"
    stage.request("drift")
    with pytest.raises(NothingToDo):
        run_round(ws, "drift")
    assert [due.trigger for due in what_is_due(ws)] == ["drift"]


def test_a_lock_is_held_by_its_process_until_that_ends(ws: Workspace) -> None:
    assert held_by(ws.home, "a round") is None
    with exclusive(ws.home, "a round"):
        assert held_by(ws.home, "a round") is not None
    assert held_by(ws.home, "a round") is None
    (ws.home / "a-round.holder").write_text("999999999")
    assert held_by(ws.home, "a round") is None
    (ws.home / "a-round.holder").write_text("1")
    assert held_by(ws.home, "a round") is None
