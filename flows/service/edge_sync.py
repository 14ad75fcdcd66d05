"""What edges hand over: answers that they gave alone, with their inputs, and feedback. Each row is stored once.

A part is one transaction: samples, predictions and feedback, so a kill leaves all of it or nothing, and an edge that
sends it again is told `known`. A row that can never be stored is refused by itself, with the reason; the others go on.
"""

import asyncio
import base64
import binascii
from dataclasses import dataclass, replace
from datetime import timedelta

from fastapi import APIRouter
from fastapi import Request as HttpRequest
from sqlalchemy.orm import Session
from starlette.responses import Response

from db.errors import NotFound
from db.records import NewPrediction, NewSample, Task
from db.repository import feedback, predictions, samples, tasks, versions
from flows.edge.forms import EdgeFeedbackIn, EdgeLogIn, EdgeLogOut, LoggedIn, RowDone
from flows.service.ingest import utc
from flows.service.keys import Caller
from flows.service.live import LOG_WAIT_S, LiveService
from flows.service.log_policy import LogPolicy
from flows.service.log_rows import Entry, prediction_of, sample_of
from flows.service.reading import parse
from flows.service.routes import REFUSALS, UNREADABLE, gives, read, takes, told
from flows.service.scopes import needs
from flows.service.wire import by
from flows.workspace import Workspace
from omni_model.data.codecs import CODECS
from omni_model.data.errors import DecodeError
from omni_model.serve.exchange import Answer, Latency, Request

MAX_COMMAS = 1_000_000
"""Commas of a part at most; an answer has one for each probability."""
AHEAD = timedelta(minutes=5)
"""How far an edge's clock may be ahead of ours before ours is believed."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """An answer of an edge as it is stored."""

    prediction: NewPrediction
    sample: NewSample | None
    """None where something of it is left out of the log."""
    content: dict[str, bytes]
    """The bytes that the sample names, by modality."""


def edge_sync(service: LiveService) -> APIRouter:
    """The route that edges sync to."""
    router = APIRouter(prefix="/v1")

    @router.post(
        "/edge/log",
        responses=gives(EdgeLogOut, "What became of each row") | REFUSALS | UNREADABLE,
        openapi_extra=needs("feedback", takes(EdgeLogIn)),
    )
    async def log(request: HttpRequest) -> Response:
        """Store what an edge answered by itself, and the feedback it took. Durable and complete once answered."""
        state = request.scope["state"]
        body = await read(service, request, lambda data, kind: parse(EdgeLogIn, data, kind, max_commas=MAX_COMMAS))
        loop = asyncio.get_running_loop()
        done = await loop.run_in_executor(service.stores, logged_first, service, body, state["caller"])
        return told(done.model_dump())

    return router


def logged_first(service: LiveService, body: EdgeLogIn, caller: Caller) -> EdgeLogOut:
    """Store a part once the answers of ours that it has feedback on are no longer on their way into the log."""
    theirs = {row.id for row in body.predictions}
    for given in body.feedback:
        if given.prediction not in theirs:
            service.log.wait_for(given.prediction, LOG_WAIT_S)
    return take(service.ws, body, LogPolicy(omit=frozenset(service.config.log_omit)), key=caller.name)


def take(ws: Workspace, body: EdgeLogIn, policy: LogPolicy, *, key: str = "") -> EdgeLogOut:
    """Store a part, without what the policy leaves out; its share is not asked, as the edge has decided already. What
    people said is kept as said by the edge's `key`, if it has one.

    Raises `DatabaseUnavailable` or `BlobStoreUnavailable`: then nothing of it is stored.
    """
    with ws.database.read() as session:
        known_tasks = {task.name: task for task in tasks.list_tasks(session)}
        known_versions = {row.version for row in versions.history(session)}
        logged = {row.id for row in body.predictions if predictions.get(session, row.id) is not None}
    done: list[RowDone] = []
    rows: list[Row] = []
    for row in body.predictions:
        if row.id in logged:
            done.append(RowDone(prediction=row.id, state="known"))
            continue
        try:
            rows.append(_row(ws, row, body.edge, policy, known_tasks, known_versions))
        except ValueError as error:
            done.append(RowDone(prediction=row.id, state="refused", reason=str(error)[:500]))
    with ws.database.write() as session:
        made = {row.sample.id: row.sample for row in rows if row.sample is not None}
        samples.add_samples(session, made.values(), now=ws.clock())
        for each in rows:
            is_new = predictions.log(session, [each.prediction], now=ws.clock()) == 1
            done.append(RowDone(prediction=each.prediction.id, state="new" if is_new else "known"))
        said = [_feedback(ws, session, given, body.edge, key) for given in body.feedback]
    for data in (data for row in rows for data in row.content.values()):
        ws.blobs.put(data)  # deleted with another sample meanwhile, perhaps; what is there is not written again
    place = {row.id: index for index, row in enumerate(body.predictions)}
    return EdgeLogOut(predictions=sorted(done, key=lambda row: place[row.prediction]), feedback=said)


def _row(
    ws: Workspace, row: LoggedIn, edge: str, policy: LogPolicy, known_tasks: dict[str, Task], known_versions: set[int]
) -> Row:
    """A row as it is stored, its inputs in the blob store. Raises `ValueError` with the reason of a refusal."""
    task = known_tasks.get(row.task)
    if task is None:
        raise ValueError(f"Nobody here knows the task {row.task!r}. Add it with `omniloop data add-task`.")
    if row.version not in known_versions:
        raise ValueError(f"There is no version {row.version} here. Point the edge to the cloud that it came from.")
    if row.answer not in row.probabilities or row.answer not in task.answers:
        raise ValueError(f"{row.answer!r:.80} is no answer of task {row.task}. Export the edge's model anew.")
    if len(set(row.used)) < len(row.used):
        raise ValueError("An input is named twice among those used. Export the edge's model anew.")
    if not sum(row.probabilities.values()) > 0:
        raise ValueError("Every probability is 0. Export the edge's model anew.")
    at = min(utc(row.at) or row.at, ws.clock() + AHEAD)
    content = {name: _content(row, name) for name in row.used}
    entry = Entry(
        request=Request(id=row.id, task=row.task, instruction=row.instruction, content=content),
        answer=_answer(row),
        instruction=row.instruction,
        source=row.source,
        domain=row.domain,
        item=row.item,
        request_id=row.request_id,
    )
    is_kept = policy.keeps_sample(entry.request, entry.answer.used)
    sample = replace(sample_of(ws, entry, policy=policy), time=at) if is_kept else None
    prediction = prediction_of(entry, None if sample is None else sample.id, policy)
    where = {"id": edge, "bundle": row.bundle, "at": at.isoformat(), "why": row.why}
    detail = {**prediction.detail, "edge": where}
    return Row(
        prediction=replace(prediction, detail=detail), sample=sample, content=content if sample is not None else {}
    )


def _content(row: LoggedIn, modality: str) -> bytes:
    """The bytes of one input, which must be what its modality's decoder takes: a later round would fail on them."""
    if modality not in CODECS or modality not in row.inputs:
        raise ValueError(f"Input {modality!r:.80} is missing or of no known modality. Send every input that was used.")
    try:
        data = base64.b64decode(row.inputs[modality], validate=True)
        CODECS[modality].decode(data)
    except (binascii.Error, DecodeError) as error:
        raise ValueError(f"Input {modality} cannot be read: {error}.") from error
    return data


def _answer(row: LoggedIn) -> Answer:
    spent = row.latency_s
    return Answer(
        id=row.id,
        version=row.version,
        generation=0,
        task=row.task,
        instruction=row.instruction,
        answer=row.answer,
        probabilities=row.probabilities,
        received=tuple(row.received),
        used=tuple(row.used),
        ignored=row.ignored,
        latency=Latency(
            queue_s=spent["queue"], decode_s=spent["decode"], encode_s=spent["encode"], fuse_s=spent["fuse"]
        ),
    )


def _feedback(ws: Workspace, session: Session, given: EdgeFeedbackIn, edge: str, key: str) -> RowDone:
    """Feedback on a prediction that is stored here, its edge's or our own."""
    id_ = given.prediction
    try:
        origin = f"human:{by(given.who, key)}" if given.who else f"edge:{edge}"
        if feedback.add(session, id_, given.answer, origin=origin, now=ws.clock()):
            return RowDone(prediction=id_, state="new")
    except (NotFound, ValueError) as error:
        return RowDone(prediction=id_, state="refused", reason=str(error)[:500])
    first = feedback.get(session, id_)
    if first is not None and first.answer != given.answer:
        reason = f"It has feedback already: {first.answer!r}, and the first one counts."
        return RowDone(prediction=id_, state="refused", reason=reason)
    return RowDone(prediction=id_, state="known")
