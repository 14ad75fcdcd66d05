"""Probing: recent samples are asked again, for what the log of answers cannot tell: alignment, balance, drift.

The same measures are taken of validation samples for the baseline, with galleries of one size, as the error of
retrieval depends on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from db.records import NewMeasurement, Prediction
from db.repository import feedback, measurements, predictions, samples, versions
from flows.steps.known import Known, baseline_in_force
from flows.steps.measuring import INSTANT, as_measurement
from flows.steps.models import load_version
from flows.steps.stored import load_samples
from flows.workspace import Workspace
from monitoring.measures.probe import (
    Reference,
    alignment_numbers,
    balance_number,
    drift_numbers,
    follow_number,
    presence_numbers,
    subsets_of,
)
from monitoring.measures.window import ALL, Number, Row, measure_feedback
from omni_model.evaluate import Predictions, predict
from omni_model.features import FeatureSet, encode_samples
from omni_model.protocol import LoopModel
from omni_model.sample import AUDIO_RATE_HZ, Sample

WINDOW_S = 3600.0
"""Samples older than this are not recent."""
MIN_ROWS = 10


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What validation samples say of a version."""

    numbers: list[Number]
    reference: bytes
    """What drift will be measured against."""
    gallery: int


def probe(ws: Workspace) -> int:
    """Ask the version in service about its recent samples again; returns the numbers written, 0 if none are new."""
    now = ws.clock()
    with ws.database.read() as session:
        version, known = versions.serving(session).version, baseline_in_force(session)
        if version is None:
            return 0
        last = measurements.latest(session, "instruction_following", version=version)
        recent = recent_rows(ws, version, now)
        since, limit = now - timedelta(seconds=WINDOW_S), ws.settings.alerting.sample_rows
        scored = feedback.newest(session, version=version, since=since, limit=limit)
    until = recent[-1].at.isoformat() if recent else ""
    told = scored[-1].feedback.at.isoformat() if scored else ""
    if not recent or (last is not None and (last.detail.get("until"), last.detail.get("told")) == (until, told)):
        return 0
    answers = {entry.prediction.sample_id: entry.feedback.answer for entry in scored if entry.prediction.sample_id}
    model = load_version(ws, version)
    numbers = live_numbers(ws, model, [row.sample_id for row in recent if row.sample_id], known)
    numbers += _balance(ws, model, answers)
    seen = {"until": until, "told": told}
    rows = [as_measurement(number, version, None) for number in numbers]
    rows = [row if row.metric != "instruction_following" else _with(row, seen) for row in rows]
    with ws.database.write() as session:
        return measurements.add(session, rows, now=now)


def recent_rows(ws: Workspace, version: int, now: datetime) -> list[Prediction]:
    """The latest answers to stored samples, one a sample, as many as the settings say; oldest first."""
    num, start = ws.settings.alerting.sample_rows, now - timedelta(seconds=WINDOW_S)
    with ws.database.read() as session:
        rows = predictions.newest(session, start, now + INSTANT, version=version, limit=4 * num)
    return list({row.sample_id: row for row in rows if row.sample_id}.values())[-num:]


def live_numbers(ws: Workspace, model: LoopModel, ids: Sequence[str], known: Known) -> list[Number]:
    """What recent samples say, as far as there is a baseline to compare with."""
    loaded = _load(ws, ids)
    features = encode_samples(model, loaded, batch_rows=64)
    said = predict(model, features)
    numbers = [follow_number((said.raw_answer == said.answer).tolist())]
    numbers += presence_numbers(said.modalities, known.modalities)
    if known.gallery and len(loaded) >= known.gallery:
        numbers += alignment_numbers(_embeddings(said, slice(-known.gallery, None)), known.gallery)
    if known.reference:
        reference = Reference.from_bytes(ws.blobs.get(known.reference))
        numbers += drift_numbers(reference, _reference(loaded, said))
    return numbers


def probe_validation(ws: Workspace, version: int, loaded: Sequence[Sample]) -> Probe:
    """What validation samples say of a version, and the reference that its traffic is compared with."""
    model = load_version(ws, version)
    features = encode_samples(model, loaded, batch_rows=64)
    said = predict(model, features)
    gallery = min(ws.settings.alerting.sample_rows, len(loaded))
    numbers = [follow_number((said.raw_answer == said.answer).tolist())]
    numbers += presence_numbers(said.modalities)
    numbers += alignment_numbers(_embeddings(said, slice(None)), gallery)
    numbers += balance(model, features)
    numbers += measure_feedback([_row(said, at) for at in range(len(said))])
    return Probe(numbers=numbers, reference=_reference(loaded, said).to_bytes(), gallery=gallery)


def balance(model: LoopModel, features: FeatureSet) -> list[Number]:
    """The balance of the modalities' contributions to being right, on labelled rows; empty with fewer than ten."""
    features = features.select(features.labelled)
    names = sorted({name for row in features.modalities for name in row})
    if len(features) < MIN_ROWS or not 2 <= len(names) <= 6:
        return []
    hits: dict[frozenset[str], NDArray[np.float64]] = {}
    for subset in subsets_of(names):
        said = predict(model, features.only(subset))
        hits[subset] = (said.answer == said.target).astype(np.float64)
    return [balance_number(hits, names)]


def _balance(ws: Workspace, model: LoopModel, answers: Mapping[str, str]) -> list[Number]:
    """The same of recent samples with feedback."""
    if len(answers) < MIN_ROWS:
        return []
    features = encode_samples(model, _load(ws, list(answers)), batch_rows=64)
    return balance(model, features.with_answers(answers))


def _load(ws: Workspace, ids: Sequence[str]) -> list[Sample]:
    with ws.database.read() as session:
        stored = samples.get(session, list(ids))
    return load_samples(ws, stored)


def _embeddings(said: Predictions, rows: slice) -> dict[str, NDArray[np.float64]]:
    return {name: np.asarray(value[rows], dtype=np.float64) for name, value in said.embeddings.items()}


def _reference(loaded: Sequence[Sample], said: Predictions) -> Reference:
    return Reference.of(
        _embeddings(said, slice(None)), [dict(sample.inputs) for sample in loaded], rate_hz=float(AUDIO_RATE_HZ)
    )


def _row(said: Predictions, at: int) -> Row:
    target = int(said.target[at])
    return Row(
        domain=str(said.domains[at]),
        task=str(said.tasks[at]),
        modalities="+".join(sorted(said.modalities[at])) or ALL,
        confidence=float(said.confidence[at]),
        is_correct=None if target < 0 else bool(said.answer[at] == target),
    )


def _with(row: NewMeasurement, more: Mapping[str, object]) -> NewMeasurement:
    return replace(row, detail={**row.detail, **more})
