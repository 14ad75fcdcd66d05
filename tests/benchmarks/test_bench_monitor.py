"""The pure parts of the benchmark of monitoring, and two of its faults on the real service."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks import monitor_delivery, monitor_faults, monitor_ours, monitor_peers
from benchmarks.monitor_damage import FAULTS, Fault, deaf, foreign, inverted, silent
from benchmarks.monitor_faults import Outcome
from benchmarks.monitor_home import PARITY, Watched, accelerated, asked, durations_apart, live
from benchmarks.monitor_streams import AT, FAULTY, Answered
from benchmarks.monitor_traffic import wrong_of
from db.records import Alert
from monitoring.alerting.reading import default_text, parse_rules
from omni_model.data import tri_digits


def alert(name: str, **labels: str) -> Alert:
    now = datetime.now(UTC)
    return Alert(
        id=1,
        fingerprint=name,
        name=name,
        severity="warning",
        state="firing",
        summary="",
        labels=labels,
        detail={},
        started_at=now,
        updated_at=now,
        resolved_at=None,
    )


def outcome(name: str, samples: int | None, *, wrong: tuple[str, ...] = ()) -> Outcome:
    return Outcome(
        fault=name,
        must="latency high",
        is_detected=samples is not None,
        samples=samples,
        seconds=None if samples is None else 1.0,
        is_resolved=samples is not None,
        resolve_s=None if samples is None else 2.0,
        followed=(),
        wrong=wrong,
    )


def test_accelerated_rules_differ_from_the_default_ones_in_their_durations_alone() -> None:
    fast, usual = parse_rules(accelerated(default_text())), parse_rules(default_text())
    assert [rule.bound for rule in fast.rules] == [rule.bound for rule in usual.rules]
    assert [rule.min_samples for rule in fast.rules] == [rule.min_samples for rule in usual.rules]
    assert fast.inhibitions == usual.inhibitions
    assert {round(b.for_s / a.for_s) for a, b in zip(fast.rules, usual.rules, strict=True) if a.for_s} == {60}
    same = [
        durations_apart(yaml.safe_dump(yaml.safe_load(text))) for text in (default_text(), accelerated(default_text()))
    ]
    assert same[0] == same[1]


def test_every_fault_names_a_rule_that_there_is() -> None:
    names = {rule.name for rule in parse_rules(default_text()).rules}
    assert {fault.must for fault in FAULTS} | {name for fault in FAULTS for name in fault.follows} <= names


def test_an_alert_about_another_modality_is_wrong() -> None:
    fault = Fault(name="camera", must="inputs drift", of={"modality": "image"}, follows=frozenset({"embeddings drift"}))
    assert fault.wants(alert("inputs drift", modality="image"))
    assert fault.allows(alert("embeddings drift", modality="image"))
    assert not fault.allows(alert("embeddings drift", modality="audio"))
    assert not fault.wants(alert("inputs drift", modality="audio"))
    assert not fault.allows(alert("latency high"))


def test_a_fault_changes_its_modality_and_no_other() -> None:
    row = next(row for row in live(40, seed=1) if len(row.inputs) == 3)
    for change, modality in ((inverted, "image"), (silent, "audio"), (foreign, "text"), (deaf, "audio")):
        after = change(row)
        kept = row.inputs.keys() - {modality}
        assert all(np.array_equal(after.inputs[name], row.inputs[name]) for name in kept)
        assert modality not in after.inputs or not np.array_equal(after.inputs[modality], row.inputs[modality])


def test_every_second_question_is_of_the_other_task_with_its_own_answers() -> None:
    rows = asked(tri_digits.live("en", 10, seed=3))
    assert [row.task for row in rows] == ["digit", "parity"] * 5
    assert all(row.answer in PARITY.answers for row in rows[1::2])
    assert all(wrong_of(row.answer or "") != row.answer for row in rows)


def test_a_miss_and_a_wrong_alert_are_counted() -> None:
    made = monitor_faults.figures_of([outcome("a", 40), outcome("b", None, wrong=("device busy",)), outcome("c", 60)])
    assert [made[name]["value"] for name in ("faults_injected", "faults_detected", "wrong_alerts")] == [3, 2, 1]
    assert made["median_samples_to_detect"]["value"] == 50
    assert "did not raise" in monitor_faults.table([outcome("b", None)])


def test_a_notice_that_never_came_is_lost_and_a_state_under_two_keys_is_doubled() -> None:
    notices = [
        monitor_delivery.Notice(key=key, receiver="hook", tells=(("x", "firing"),)) for key in ("first", "second")
    ] + [monitor_delivery.Notice(key="third", receiver="mail", tells=(("x", "firing"), ("y", "firing")))]
    made, _ = monitor_delivery.figures_of(notices, {"hook": ["first", "second", "second"], "mail": []}, Counter())
    assert made["alerts_lost"]["value"] == 2
    assert made["alerts_doubled"]["value"] == 1
    assert made["deliveries_again_same_key"]["value"] == 1


def test_a_detector_s_delay_misses_and_false_alarms_are_told() -> None:
    found = {name: [AT + 63] for name in FAULTY} | {"clean": [5, 9], "labels flipped": [3]}
    made = monitor_peers.figures_of("river adwin", [found], [1], 640)
    assert made["delay_river_adwin"]["value"] == 64
    assert made["missed_river_adwin"]["value"] == 1
    assert made["false_per_1000_river_adwin"]["value"] == pytest.approx(2000 / 640)


def answered(num: int, *, is_right: bool) -> Answered:
    rng = np.random.default_rng(int(is_right))
    rows = live(num, seed=2)
    embeddings = {name: rng.normal(size=(num, 4)) for name in ("audio", "image", "text")}
    return Answered(
        samples=rows,
        modalities=[frozenset(row.inputs) for row in rows],
        confidence=np.full(num, 0.9),
        has_followed=np.ones(num, dtype=bool),
        is_right=np.full(num, is_right),
        embeddings=embeddings,
    )


def test_our_rules_find_wrong_answers_in_a_stream_and_nothing_before_them() -> None:
    clean, bad = answered(200, is_right=True), answered(100, is_right=False)
    found = monitor_ours.alarms(clean, clean.then(bad, 160))
    assert found.keys() == {"accuracy low"}
    assert found["accuracy low"][0] >= 160


@pytest.mark.slow
def test_two_faults_of_the_real_service_are_told_as_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(tmp_path / "watched")
    watched.build(epochs=8)
    monkeypatch.setattr(monitor_faults, "SHORT", ("microphone silent", "service killed"))
    made, (told,) = monitor_faults.figures(watched, True)
    assert made["faults_detected"]["value"] == made["faults_injected"]["value"] == 2, told
    assert made["wrong_alerts"]["value"] == 0, told
    assert made["faults_resolved"]["value"] == 2, told
