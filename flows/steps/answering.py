"""Answering: the version in service answers samples, and what it said is logged so that feedback can refer to it."""

from collections.abc import Sequence
from uuid import uuid4

from db.records import NewPrediction, StoredSample
from db.repository import feedback, predictions, samples, versions
from flows.errors import NothingInService
from flows.steps.models import load_version
from flows.steps.stored import load_samples
from flows.workspace import Workspace
from omni_model.evaluate import Predictions, predict

CHUNK_ROWS = 256


def answer(ws: Workspace, sample_ids: Sequence[str]) -> dict[str, str]:
    """Let the version in service answer stored samples; returns the prediction id of each sample."""
    with ws.database.read() as session:
        version = versions.serving(session).version
    if version is None:
        raise NothingInService("No version is in service. Train the first one with `omniloop train`.")
    model = load_version(ws, version)
    ids: dict[str, str] = {}
    for start in range(0, len(sample_ids), CHUNK_ROWS):
        with ws.database.read() as session:
            stored = samples.get(session, sample_ids[start : start + CHUNK_ROWS])
        rows = answered(version, stored, predict(model, load_samples(ws, stored)))
        with ws.database.write() as session:
            predictions.log(session, rows, now=ws.clock())
        ids |= {row.sample_id: row.id for row in rows if row.sample_id}
    return ids


def answered(version: int, stored: Sequence[StoredSample], said: Predictions) -> list[NewPrediction]:
    """Log rows of a batch of predictions."""
    return [
        NewPrediction(
            id=uuid4().hex,
            version=version,
            task=sample.task,
            answer=said.answers[int(said.answer[row])],
            confidence=float(said.confidence[row]),
            sample_id=sample.id,
            domain=sample.domain,
            modalities=tuple(sorted(sample.inputs)),
            latency_s=float(said.latency_s[row]),
        )
        for row, sample in enumerate(stored)
    ]


def give_feedback(ws: Workspace, answers: Sequence[tuple[str, str]], *, origin: str) -> int:
    """Store the right answers to predictions, as (prediction id, answer); returns how many were new."""
    with ws.database.write() as session:
        return sum(
            feedback.add(session, prediction_id, answer_, origin=origin, now=ws.clock())
            for prediction_id, answer_ in answers
        )
