"""Answers on their way into the log, made by hand, and what the log holds of them."""

from collections.abc import Mapping
from typing import Any

from db.records import Prediction
from db.repository import predictions, samples
from flows.service.log_rows import Entry
from flows.workspace import Workspace
from omni_model.serve.exchange import Answer, Latency, Request

LATENCY = Latency(queue_s=0.1, decode_s=0.1, encode_s=0.1, fuse_s=0.1)


def entry(id_: str, *, version: int = 1, content: Mapping[str, bytes] | None = None, **more: Any) -> Entry:
    content = {"text": b"tres"} if content is None else content
    request = Request(id=id_, task="digit", content=content, key=more.pop("key", ""), instruction=more.pop("said", ""))
    answer = Answer(
        id=id_,
        version=version,
        generation=1,
        task="digit",
        instruction="Which digit?",
        answer="3",
        probabilities={"3": 0.75, "4": 0.25},
        received=tuple(sorted(content)),
        used=tuple(sorted(content)),
        ignored={},
        latency=LATENCY,
    )
    return Entry(request=request, answer=answer, instruction="Which digit?", **more)


def logged(ws: Workspace, id_: str) -> Prediction | None:
    with ws.database.read() as session:
        return predictions.get(session, id_)


def row(ws: Workspace, id_: str) -> Prediction:
    found = logged(ws, id_)
    assert found is not None
    return found


def num_samples(ws: Workspace) -> int:
    with ws.database.read() as session:
        return sum(samples.count_samples(session).values())
