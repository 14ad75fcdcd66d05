"""Live rows for tests: predictions of the version in service and feedback on them, as a service would log them."""

from collections.abc import Sequence
from itertools import count

import numpy as np

from db.records import NewPrediction
from db.repository import feedback, predictions, versions
from flows.steps.baselines import Validated, recall
from flows.workspace import Workspace

_numbers = count()


def validated(ws: Workspace) -> Validated:
    """The version in service at validation."""
    with ws.database.read() as session:
        found = recall(session, versions.serving(session).version or 0)
    assert found is not None
    return found


def usual(ws: Workspace, num: int, *, seed: int = 0) -> list[float]:
    """Confidences like those at validation."""
    drawn = np.random.default_rng(seed).choice(validated(ws).traffic.confidence, num)
    return [float(value) for value in drawn]


def log(
    ws: Workspace,
    confidence: Sequence[float | None],
    *,
    domain: str = "en",
    answer: str = "0",
    at_once: bool = False,
) -> list[str]:
    """Log answers of the version in service with these confidences; returns their ids."""
    with ws.database.read() as session:
        version = versions.serving(session).version
    assert version is not None
    rows = [
        NewPrediction(
            id=f"live-{next(_numbers):06}",
            version=version,
            task="digit",
            answer=answer,
            confidence=float("nan") if value is None else value,
            domain=domain,
            modalities=tuple(validated(ws).traffic.modalities[0].split("+")),
        )
        for value in confidence
    ]
    with ws.database.write() as session:
        for row in [rows] if at_once else [[row] for row in rows]:
            predictions.log(session, row, now=ws.clock())
    return [row.id for row in rows]


def answer_right(ws: Workspace, ids: Sequence[str], share: float) -> None:
    """Give feedback to predictions of the answer 0, so that this share of them was right."""
    with ws.database.write() as session:
        for rank, id_ in enumerate(ids):
            is_right = rank < share * len(ids)
            feedback.add(session, id_, "0" if is_right else "1", origin="human:ann", now=ws.clock())
