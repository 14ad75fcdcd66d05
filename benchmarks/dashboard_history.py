"""A long history for the pages to show: answers of the last day, and versions of years."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from db.records import NewPrediction
from db.repository import feedback, predictions, releases
from tests.dashboards.lived import ANSWERS, DOMAINS
from tests.dashboards.places import START, Place

CHUNK = 2_000


def add_predictions(place: Place, ids: Sequence[str], num: int) -> None:
    """Answers of version 1 over the last day, every tenth with feedback."""
    for start in range(0, num, CHUNK):
        rows = [
            NewPrediction(
                id=f"long-{number}",
                version=1,
                task="digit",
                answer=ANSWERS[number % 10],
                confidence=0.5 + number % 50 / 100,
                sample_id=ids[number % len(ids)],
                domain=DOMAINS[number % len(DOMAINS)],
                modalities=("audio", "image", "text")[: 1 + number % 3],
                latency_s=0.002 + number % 97 / 10_000,
                detail={"entropy": 0.1},
            )
            for number in range(start, min(start + CHUNK, num))
        ]
        at = START - timedelta(days=1) * (1 - start / num)
        with place.database.write() as session:
            predictions.log(session, rows, now=at)
            for row in rows[::10]:
                feedback.add(session, row.id, row.answer, origin="human:ann", now=at)


def add_versions(place: Place, num: int) -> None:
    """Candidates that were refused, one after the other."""
    for number in range(num):
        with place.database.write() as session:
            made = releases.create_candidate(
                session,
                round_id=None,
                parent_version=1,
                digest=f"long {number}",
                metrics={"accuracy": 0.9},
                now=place.clock(),
            )
            releases.reject(session, made.version, who="gate", why="accuracy fell", now=place.clock())
