"""Shorthand for what most tests of the database start from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from db.blobs import digest_of
from db.records import NewPrediction, NewSample, Release, Round, Task
from db.repository import labels, predictions, releases, rounds, samples, tasks

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

TASK = Task(name="digit", instructions=("Which digit is it?",), answers=("0", "1", "2"))


def later(seconds: float) -> datetime:
    """So many seconds after `NOW`."""
    return NOW + timedelta(seconds=seconds)


def sample(id_: str, **changes: Any) -> NewSample:
    """A training sample of the digit task."""
    given: dict[str, Any] = {"task": "digit", "instruction": "Which digit is it?", "split": "train", "source": "en"}
    inputs = {"text": digest_of(id_.encode())}
    return NewSample(**{"id": id_, "inputs": inputs, **given, **changes})


def add_samples(session: Session, *ids: str, **changes: Any) -> None:
    """Samples, and their task."""
    tasks.put_task(session, TASK)
    samples.add_samples(session, [sample(id_, **changes) for id_ in ids], now=NOW)


def label(session: Session, sample_id: str, answer: str = "0", **changes: Any) -> None:
    """A label from the manifest."""
    labels.add_label(session, sample_id, answer, **{"origin": "manifest", "now": NOW, **changes})


def open_round(session: Session, key: str = "key", base: int | None = None) -> Round:
    """A new open round."""
    round_, created = rounds.open_round(
        session, key=key, trigger="manual", base_version=base, config={"budget": 3}, snapshot="snap", now=NOW
    )
    assert created
    return round_


def candidate(session: Session, key: str, parent: int | None = None) -> Release:
    """A candidate with a closed round of its own."""
    round_ = open_round(session, key, parent)
    release = releases.create_candidate(
        session, round_id=round_.id, parent_version=parent, digest=f"digest of {key}", now=NOW
    )
    rounds.close(session, round_.id, "registered", now=NOW)
    return release


def accepted(session: Session, key: str = "first", parent: int | None = None) -> Release:
    """A version that was promoted and accepted at once."""
    release = candidate(session, key, parent)
    return releases.promote(session, release.version, who="ann", why="first", now=NOW, probation=False)


def on_probation(session: Session, key: str, parent: int) -> Release:
    """A version that was promoted."""
    release = candidate(session, key, parent)
    return releases.promote(session, release.version, who="gate", why="better", now=NOW)


def log_prediction(session: Session, id_: str, version: int, **changes: Any) -> None:
    """An answer of a version."""
    given: dict[str, Any] = {"task": "digit", "answer": "0", "confidence": 0.9}
    predictions.log(session, [NewPrediction(**{"id": id_, "version": version, **given, **changes})], now=NOW)
