"""What asks for a round, and what does not: requests are left once, and what was answered is not asked again."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.records import Trigger
from db.repository import alerts, measurements, samples, triggers
from flows.reporter import SILENT
from flows.settings import Settings
from flows.steps.ingesting import add_task, ingest
from flows.steps.labelling import add_labels
from flows.steps.looking import next_look, write_down
from flows.steps.rounds import run_round
from flows.steps.triggering import check_triggers
from flows.workspace import Workspace, open_workspace
from monitoring.config import TriggerConfig
from monitoring.triggers import (
    ASK,
    DRIFT,
    HELD,
    NEW_LABELS,
    NOT_ENOUGH,
    NOT_MEASURED,
    OFF,
    PERFORMANCE,
    QUIET,
    Judgement,
)
from omni_model.data import tri_digits
from omni_model.data.writing import write_manifest
from omni_model.sample import Sample
from tests.flows import homes, live


@pytest.fixture
def clock() -> homes.Clock:
    return homes.Clock(now=datetime.now(UTC))


@pytest.fixture
def timed(ws: Workspace, clock: homes.Clock) -> Workspace:
    """The home with v1 in service, a clock of our own, and 20 new labels as the threshold."""
    return changed(ws.with_(clock=clock), new_labels_trigger=20)


def changed(ws: Workspace, triggers: TriggerConfig | None = None, **loop: object) -> Workspace:
    """The same under other settings."""
    update: dict[str, object] = {"loop": replace(ws.settings.loop, **loop)}  # type: ignore[arg-type]
    return ws.with_(settings=ws.settings.model_copy(update=update | ({"triggers": triggers} if triggers else {})))


def look(ws: Workspace) -> dict[str, Judgement]:
    """One check, by kind."""
    return {judgement.kind: judgement for judgement in check_triggers(ws)}


def pending(ws: Workspace) -> list[Trigger]:
    with ws.database.read() as session:
        return triggers.pending(session)


def label_pool(ws: Workspace, right: Mapping[str, str], num: int) -> None:
    """A person labels some of the pool without being asked."""
    with ws.database.read() as session:
        page = samples.pool(session, limit=num)
    assert add_labels(ws, [(sample.id, right[sample.id]) for sample in page], origin="human:ann") == num


def test_a_home_where_nothing_has_happened_asks_for_nothing(timed: Workspace) -> None:
    found = look(timed)
    assert {kind: judgement.verdict for kind, judgement in found.items()} == {
        NEW_LABELS: QUIET,
        DRIFT: NOT_ENOUGH,
        PERFORMANCE: NOT_ENOUGH,
    }
    assert found[DRIFT].sentence == "0 of the 100 predictions that look 1 waits for are there."
    assert pending(timed) == []


# New labels


def test_enough_new_labels_ask_once(timed: Workspace, right: Mapping[str, str]) -> None:
    label_pool(timed, right, 19)
    assert look(timed)[NEW_LABELS].verdict == QUIET
    label_pool(timed, right, 1)
    assert look(timed)[NEW_LABELS].verdict == ASK
    assert NEW_LABELS not in look(timed)
    (request,) = pending(timed)
    assert (request.kind, request.num_requests, request.detail["numbers"]["num_new"]) == (NEW_LABELS, 1, 20)


def test_labels_that_a_round_has_read_do_not_ask_again(timed: Workspace, right: Mapping[str, str]) -> None:
    label_pool(timed, right, 20)
    look(timed)
    homes.run_whole_round(timed, right, NEW_LABELS)
    assert pending(timed) == []
    judgement = look(timed)[NEW_LABELS]
    assert (judgement.verdict, judgement.numbers["num_new"]) == (QUIET, 0)


def test_labels_that_an_open_round_has_asked_for_ask_for_no_other(timed: Workspace, right: Mapping[str, str]) -> None:
    run_round(changed(timed, label_share_to_go_on=1.0), "manual")
    label_pool(timed, right, 30)
    assert check_triggers(timed) == []
    assert pending(timed) == []


def test_fewer_labels_than_a_round_trains_on_ask_for_none(timed: Workspace, right: Mapping[str, str]) -> None:
    label_pool(timed, right, 4)
    assert look(changed(timed, new_labels_trigger=1, min_new_labels=5))[NEW_LABELS].verdict == QUIET


def test_labels_ask_for_the_very_first_round_too(small: Path, labelled: list[Sample]) -> None:
    ws = changed(open_workspace(Settings.load(home=small), SILENT), new_labels_trigger=len(labelled) // 2)
    assert [judgement.kind for judgement in check_triggers(ws)] == [NEW_LABELS]
    add_task(ws, tri_digits.TASK)
    ingest(ws, write_manifest(labelled, ws.home / "arrivals"))
    assert look(ws)[NEW_LABELS].asks
    ws.database.close()


# Drift


def test_traffic_like_that_at_validation_asks_for_nothing(timed: Workspace) -> None:
    for size, verdict in ((100, NOT_ENOUGH), (200, QUIET), (400, QUIET)):
        live.log(timed, live.usual(timed, size, seed=size), at_once=True)
        assert look(timed)[DRIFT].verdict == verdict
    assert pending(timed) == []


def test_traffic_of_an_unknown_domain_asks_with_the_figures(timed: Workspace) -> None:
    live.log(timed, live.usual(timed, 100), domain="ru", at_once=True)
    assert look(timed)[DRIFT].asks
    (request,) = pending(timed)
    assert request.detail["version"] == 1
    assert "100% of 100 predictions are of domains that validation hardly knew (ru)" in request.detail["why"]


def test_each_look_is_kept_as_measurements(timed: Workspace) -> None:
    live.log(timed, live.usual(timed, 100), domain="ru", at_once=True)
    look(timed)
    with timed.database.read() as session:
        whole = measurements.latest(session, DRIFT, version=1)
        new = measurements.latest(session, DRIFT, slice_="test=new domains", version=1)
    assert whole is not None
    assert new is not None
    assert (whole.value, whole.num_samples, whole.detail["look"]) == (1.0, 100, 1)
    assert (new.value, new.detail["verdict"]) == (1.0, ASK)


@pytest.mark.parametrize("at_once", [True, False])
def test_every_prediction_is_seen_once_even_if_all_were_logged_in_one_instant(timed: Workspace, at_once: bool) -> None:
    live.log(timed, live.usual(timed, 300), at_once=at_once)
    assert look(timed)[DRIFT].numbers["num_rows"] == 100
    assert look(timed)[DRIFT].numbers["num_rows"] == 200
    assert look(timed)[DRIFT].sentence == "0 of the 400 predictions that look 3 waits for are there."
    with timed.database.read() as session:
        whole = measurements.latest(session, DRIFT, version=1)
    assert whole is not None
    assert whole.detail["kept"]["domains"] == {"en": 300}


def test_a_look_that_is_not_due_leaves_nothing_behind(timed: Workspace) -> None:
    live.log(timed, live.usual(timed, 99))
    look(timed)
    with timed.database.read() as session:
        assert measurements.series(session, DRIFT) == []


def test_in_a_flood_of_predictions_a_look_is_at_recent_ones(timed: Workspace, clock: homes.Clock) -> None:
    live.log(timed, live.usual(timed, 100), domain="ru", at_once=True)
    clock.wait(hours=1)
    live.log(timed, live.usual(timed, 100), at_once=True)
    assert not look(timed)[DRIFT].asks


def test_one_sample_asked_a_hundred_times_is_one_row(timed: Workspace, arriving: list[Sample]) -> None:
    from flows.steps.answering import answer

    for _ in range(50):
        answer(timed, [sample.id for sample in arriving[:2]])
    judgement = look(timed)[DRIFT]
    assert judgement.verdict == NOT_ENOUGH
    assert judgement.numbers["num_rows"] == 2


def test_a_confidence_that_is_no_number_raises_an_alert_until_it_is_one(timed: Workspace) -> None:
    live.log(timed, [*live.usual(timed, 99), None], at_once=True)
    assert look(timed)[DRIFT].verdict == NOT_MEASURED
    with timed.database.read() as session:
        (alert,) = alerts.list_alerts(session, is_open=True)
    assert "not a number" in alert.summary
    live.log(timed, live.usual(timed, 200), at_once=True)
    assert look(timed)[DRIFT].verdict == QUIET
    with timed.database.read() as session:
        assert alerts.list_alerts(session, is_open=True) == []
    assert pending(timed) == []


def test_two_who_look_at_once_leave_one_look(timed: Workspace) -> None:
    live.log(timed, live.usual(timed, 100), at_once=True)
    with timed.database.read() as session:
        first = next_look(
            session, DRIFT, 1, homes.serving(timed).updated_at or timed.clock(), first_rows=100, most_rows=900
        )
    judgement, times = Judgement(kind=DRIFT, verdict=QUIET, sentence=""), [timed.clock()] * 100
    for expected in (True, False):
        with timed.database.write() as session:
            assert write_down(session, 1, judgement, first, times, now=timed.clock(), kept={}) == expected


# Performance


def test_an_established_fall_of_accuracy_asks(timed: Workspace) -> None:
    live.answer_right(timed, live.log(timed, live.usual(timed, 100), at_once=True), 0.3)
    judgement = look(timed)[PERFORMANCE]
    assert judgement.asks
    assert "accuracy is 0.300 on 100 predictions with feedback" in judgement.sentence
    assert {request.kind for request in pending(timed)} == {PERFORMANCE}


def test_accuracy_as_at_validation_does_not(timed: Workspace) -> None:
    known = live.validated(timed)
    live.answer_right(timed, live.log(timed, live.usual(timed, 100)), known.num_right / known.num_labelled)
    assert look(timed)[PERFORMANCE].verdict == QUIET
    assert pending(timed) == []


# What was answered, and what is switched off


def test_drift_that_a_round_has_answered_is_not_asked_again(
    timed: Workspace, clock: homes.Clock, right: Mapping[str, str]
) -> None:
    live.log(timed, live.usual(timed, 100), domain="ru", at_once=True)
    look(timed)
    report = homes.run_whole_round(timed, right, DRIFT)
    assert report.round.outcome == "probation"
    assert pending(timed) == []
    found = look(timed)
    assert found[DRIFT].sentence == "0 of the 100 predictions that look 1 waits for are there."
    live.log(timed, live.usual(timed, 100), domain="ru", at_once=True)
    assert look(timed)[DRIFT].asks


def test_a_version_that_a_round_did_not_replace_may_ask_again_after_a_day(timed: Workspace, clock: homes.Clock) -> None:
    live.log(timed, live.usual(timed, 100), domain="ru", at_once=True)
    look(timed)
    with timed.database.write() as session:
        triggers.take_trigger(session, now=timed.clock())
    live.log(timed, live.usual(timed, 100), domain="ru", at_once=True)
    assert look(timed)[DRIFT].verdict == HELD
    clock.wait(hours=25)
    assert look(timed)[DRIFT].asks


def test_a_request_that_waits_is_not_repeated_but_another_kind_may_ask(timed: Workspace) -> None:
    ids = live.log(timed, live.usual(timed, 100), domain="ru", at_once=True)
    look(timed)
    live.answer_right(timed, ids, 0.0)
    assert set(look(timed)) == {NEW_LABELS, PERFORMANCE}
    assert [(request.kind, request.num_requests) for request in pending(timed)] == [(DRIFT, 1), (PERFORMANCE, 1)]


def test_what_is_switched_off_asks_for_nothing(timed: Workspace, right: Mapping[str, str]) -> None:
    off = changed(timed, TriggerConfig(drift_first_rows=0, feedback_first_rows=0), new_labels_trigger=0)
    label_pool(off, right, 40)
    live.answer_right(off, live.log(off, live.usual(off, 100), domain="ru"), 0.0)
    assert {judgement.verdict for judgement in check_triggers(off)} == {OFF}
    assert pending(off) == []
