"""A history to look at, made by the functions that the loop uses: versions in every state, rounds, data, alerts."""

from __future__ import annotations

import io
import wave
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy.orm import Session

from db.records import (
    NewFault,
    NewMeasurement,
    NewMirror,
    NewPair,
    NewPrediction,
    NewReport,
    NewSample,
    Release,
    RoundSample,
    Task,
)
from db.repository import (
    alerts,
    feedback,
    ingests,
    label_queue,
    labels,
    measurements,
    mirrors,
    notifications,
    predictions,
    probation,
    releases,
    reports,
    rounds,
    samples,
    silences,
    tasks,
    trials,
    triggers,
)
from monitoring.comparison import compare, to_json
from monitoring.outcomes import Answers, PairedOutcomes, Provenance
from tests.dashboards.places import Place

ANSWERS = tuple("0123456789")
TASK = Task(name="digit", instructions=("Which digit is it?",), answers=ANSWERS)
DOMAINS = ("en", "es", "fr")
NUM_SAMPLES = 36
NUM_PREDICTIONS = 120


def picture(seed: int) -> bytes:
    """A small PNG."""
    pixels = np.random.default_rng(seed).integers(0, 255, (32, 32), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def sound(seed: int) -> bytes:
    """A quarter of a second of noise as WAV."""
    values = (np.random.default_rng(seed).standard_normal(2_000) * 3_000).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(values.tobytes())
    return buffer.getvalue()


def add_samples(place: Place, num: int = NUM_SAMPLES) -> list[str]:
    """Samples of three domains with picture, sound and text in the blob store; every third is labelled."""
    rows = []
    for place_in_row in range(num):
        text = f"sample {place_in_row}" if place_in_row else "<script>alert('text')</script>"
        inputs = {
            "text": place.blobs.put(text.encode()),
            "image": place.blobs.put(picture(place_in_row)),
            "audio": place.blobs.put(sound(place_in_row)),
        }
        split = ("train", "train", "val")[place_in_row % 3]
        domain = DOMAINS[place_in_row % len(DOMAINS)]
        rows.append(
            NewSample(
                id=f"s-{place_in_row:03d}",
                task="digit",
                instruction="Which digit is it?",
                inputs=inputs,
                split=split,
                source=f"kiosk-{domain}",
                domain=domain,
            )
        )
    with place.database.write() as session:
        tasks.put_task(session, TASK)
        samples.add_samples(session, rows, now=place.clock())
        for number, row in enumerate(rows):
            if number % 3 == 0:
                labels.add_label(session, row.id, ANSWERS[number % 10], "manifest", now=place.clock())
    return [row.id for row in rows]


def outcomes(ids: list[str], old: int, new: int, *, at: datetime, worse: bool = False) -> PairedOutcomes:
    """What two versions answered: mostly right, apart on some samples."""
    rng = np.random.default_rng(new)
    num = len(ids)
    target = np.arange(num) % 10

    def side(share_right: float) -> Answers:
        right = rng.random(num) < share_right
        probability = np.where(right, 0.9, 0.2)
        return Answers(
            answer=np.where(right, target, (target + 1) % 10).astype(np.int64),
            followed=np.ones(num, dtype=bool),
            confidence=np.full(num, 0.8),
            target_probability=probability,
            brier=(1 - probability) ** 2,
            latency_s=np.full(num, 0.004),
        )

    return PairedOutcomes(
        provenance=Provenance(old_version=old, new_version=new, measured_at=at),
        ids=np.array(ids),
        items=np.array(ids),
        tasks=np.full(num, "digit"),
        domains=np.array([DOMAINS[place % len(DOMAINS)] for place in range(num)]),
        modalities=np.full(num, "audio+image+text"),
        target=target.astype(np.int64),
        old=side(0.8),
        new=side(0.5 if worse else 0.9),
    )


def one_round(
    place: Place, ids: list[str], *, base: int | None, trigger: str = "manual", worse: bool = False
) -> Release:
    """A round through all its steps, up to its candidate."""
    now = place.clock
    with place.database.write() as session:
        triggers.request(session, trigger, now=now(), detail={"why": "somebody asked", "who": "operator"})
        round_, _ = rounds.open_round(
            session,
            key=f"key {now()}",
            trigger=trigger,
            base_version=base,
            config={"selection": {"acquisition": "margin", "budget": 8}},
            snapshot="snapshot",
            now=now(),
        )
        triggers.take_trigger(session, now=now(), round_id=round_.id)
        members = [
            RoundSample(
                sample_id=id_, role="control" if place_in_row % 4 == 3 else "selected", score=0.9, rank=place_in_row
            )
            for place_in_row, id_ in enumerate(ids[:8])
        ]
        rounds.add_round_samples(session, round_.id, members)
        told: dict[str, Any] = {"acquisition": "margin", "num_seen": 30, "num_selected": 6, "num_control": 2}
        rounds.advance(session, round_.id, "filtered", told | {"num_validation": 0}, now=now())
        rounds.advance(session, round_.id, "labelled", {"num_labelled": 8, "num_asked": 8}, now=now())
        epochs = [
            {
                "epoch": epoch,
                "epochs": 3,
                "train_loss": 3.0 / epoch,
                "val_loss": 3.2 / epoch,
                "val_accuracy": 0.3 * epoch,
            }
            for epoch in (1, 2, 3)
        ]
        digest = f"digest {round_.id}"
        tuned = {"digest": digest, "base_digest": None, "bytes": 3_590_093, "num_new": 8, "fit": {"history": epochs}}
        rounds.advance(session, round_.id, "tuned", tuned, now=now())
        release = releases.create_candidate(
            session, round_id=round_.id, parent_version=base, digest=digest, metrics={"accuracy": 0.91}, now=now()
        )
        rounds.advance(session, round_.id, "registered", {"version": release.version}, now=now())
        paired = outcomes(ids, base or 0, release.version, at=now(), worse=worse)
        evidence = place.blobs.put(paired.to_bytes())
        validated = {
            "against": base,
            "evidence": evidence if base else None,
            "comparisons": place.blobs.put(to_json(compare(paired, seed=0)).encode()) if base else None,
            "accuracy": 0.91,
            "accuracy_by_domain": {name: {"accuracy": 0.9, "num_samples": 12} for name in DOMAINS},
            "num_samples": len(ids),
        }
        if base:
            rounds.set_evidence(session, round_.id, evidence, now=now())
        rounds.advance(session, round_.id, "validated", validated, now=now())
    return release


def decided(place: Place, release: Release, state: str, verdict: str) -> None:
    """Close the round of a candidate and move the candidate there."""
    with place.database.write() as session:
        told = {"verdict": verdict, "reasons": [f"accuracy: {verdict}"], "state": state}
        assert release.round_id is not None
        rounds.advance(session, release.round_id, "decided", told, now=place.clock())
        rounds.close(session, release.round_id, outcome=state, now=place.clock())
        move(session, place, release.version, state)


def move(session: Session, place: Place, version: int, state: str) -> None:
    """Send a candidate to a state, with a reason that nobody should take for HTML."""
    told: dict[str, Any] = {"who": "gate", "why": "because <b>of</b> the numbers", "now": place.clock()}
    if state == "rejected":
        releases.reject(session, version, **told)
    elif state == "awaiting_approval":
        releases.await_approval(session, version, **told)
    else:
        releases.promote(session, version, probation=state == "probation", **told)


def traffic(place: Place, version: int, ids: list[str], num: int = NUM_PREDICTIONS) -> None:
    """Answers of a version, half of them with feedback."""
    rows = [
        NewPrediction(
            id=f"p-{version}-{number}",
            version=version,
            task="digit",
            answer=ANSWERS[number % 10],
            confidence=0.5 + number % 50 / 100,
            sample_id=ids[number % len(ids)],
            domain=DOMAINS[number % len(DOMAINS)],
            modalities=("image", "text"),
            latency_s=0.005,
            detail={"entropy": 0.1},
        )
        for number in range(num)
    ]
    with place.database.write() as session:
        predictions.log(session, rows, now=place.clock())
        for row in rows[::2]:
            feedback.add(session, row.id, row.answer, origin="human:ann", now=place.clock())


def watched(place: Place, version: int) -> None:
    """Two hours of measurements, the baseline that they are compared with, alerts, a silence, notices, reports."""
    values = {
        "alignment_error": (0.2, "all"),
        "latency_p95": (0.02, "all"),
        "modality_balance": (0.9, "all"),
        "instruction_following": (0.99, "all"),
        "accuracy": (0.93, "all"),
        "cpu_utilisation": (0.4, "all"),
        "memory_fragmentation": (0.3, "all"),
        "num_predictions": (60.0, "all"),
    }
    end = place.clock()
    for minute in range(-120, 1, 5):
        at = end + timedelta(minutes=minute)
        rows = [
            NewMeasurement(
                metric=metric,
                value=value * (1 + 0.02 * np.sin(minute)),
                slice=slice_,
                version=version,
                num_samples=60,
                detail={"window_s": 900.0},
            )
            for metric, (value, slice_) in values.items()
        ]
        with place.database.write() as session:
            measurements.add(session, rows, now=at)
    known = {
        metric: {"value": value, "num_samples": 100, "spread": 0.01, "version": version}
        for metric, (value, _) in values.items()
    }
    with place.database.write() as session:
        now = place.clock()
        measurements.set_baseline(session, "monitoring", {"metrics": {"all": known}}, version=version, now=now)
        alerts.raise_alert(
            session,
            "latency",
            name="latency high",
            severity="warning",
            summary="latency_p95 is 0.04 s, 15 % above <i>its baseline</i>",
            state="firing",
            labels={"metric": "latency_p95", "slice": "all"},
            now=now,
        )
        alerts.raise_alert(session, "old", name="accuracy low", severity="critical", summary="accuracy fell", now=now)
        alerts.resolve(session, "old", now=place.clock())
        silences.add(
            session,
            [{"label": "name", "value": "disk full", "is_regex": False, "is_equal": True}],
            owner="operator",
            why="known <script>",
            starts_at=now,
            ends_at=now + timedelta(hours=2),
            now=now,
        )
        notifications.tell(
            session,
            key="notice",
            receiver="log",
            group_key="g",
            reason="firing",
            firing=["latency"],
            resolved=[],
            payload={},
            now=now,
        )
        reports.add(
            session,
            NewReport(key="r", kind="drift", digest="0" * 64, num_rows=100, num_reference=100, version=version),
            now=now,
        )


def fill(place: Place) -> list[str]:
    """Everything: v1 accepted, v2 rejected, v3 rolled back, v4 on probation, v5 awaits approval and is on trial, and an
    open round that waits for labels. Returns the ids of the samples.
    """
    ids = add_samples(place)
    first = one_round(place, ids, base=None)
    decided(place, first, "accepted", "first")
    traffic(place, 1, ids)
    decided(place, one_round(place, ids, base=1, worse=True, trigger="drift"), "rejected", "reject")
    decided(place, one_round(place, ids, base=1), "probation", "accept")
    with place.database.write() as session:
        releases.rollback(session, 3, who="probation", why="it fell by 8 %", now=place.clock())
    decided(place, one_round(place, ids, base=1, trigger="schedule"), "awaiting_approval", "inconclusive")
    with place.database.write() as session:
        trials.start(session, 4, mode="shadow", share=0.5, who="operator", why="first look", now=place.clock())
        rows = [
            NewMirror(
                prediction_id=f"p-1-{number}", version=4, answer=ANSWERS[number % 9], confidence=0.7, latency_s=0.004
            )
            for number in range(40)
        ]
        mirrors.log(session, rows, now=place.clock())
    with place.database.write() as session:
        now = place.clock()
        round_, _ = rounds.open_round(
            session, key="open", trigger="manual", base_version=1, config={}, snapshot="snapshot", now=now
        )
        waiting = [id_ for place_in_row, id_ in enumerate(ids) if place_in_row % 3 == 1]
        rounds.add_round_samples(
            session, round_.id, [RoundSample(sample_id=id_, role="selected", score=0.5) for id_ in waiting]
        )
        label_queue.enqueue(session, waiting, round_id=round_.id, now=now)
        rounds.advance(session, round_.id, "filtered", {"acquisition": "margin", "num_selected": len(waiting)}, now=now)
        ingest = ingests.start_ingest(session, "manifest", path="arrivals/m.jsonl", now=now)
        fault = NewFault(manifest=ingest.manifest, line=3, reason="task: missing", raw="{<script>}")
        ingests.add_faults(session, [fault], now=now)
        ingests.finish_ingest(session, ingest.manifest, now=now)
        triggers.request(session, "drift", now=now, detail={"why": "the pictures look different"})
    watched(place, 1)
    return ids


def on_probation(place: Place, ids: list[str]) -> int:
    """One more version, in service on probation with some pairs; the trial that ran is stopped for it."""
    with place.database.write() as session:
        if trials.running(session) is not None:
            trials.end(session, who="operator", outcome="stopped", now=place.clock())
        open_round = rounds.resume_target(session)
        if open_round is not None:
            rounds.close(session, open_round.id, outcome="cancelled", now=place.clock())
    release = one_round(place, ids, base=1)
    decided(place, release, "probation", "accept")
    pairs = [
        NewPair(key=f"pair-{number}", new_correct=number % 5 != 0, old_correct=number % 4 != 0) for number in range(30)
    ]
    with place.database.write() as session:
        probation.add_pairs(session, release.version, pairs, now=place.clock())
    return release.version
