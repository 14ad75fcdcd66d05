"""From answers to rows: bytes first, then samples and predictions in one transaction."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from db.records import NewPrediction, NewSample
from db.repository import predictions, samples
from flows.service.log_policy import LogPolicy
from flows.workspace import Workspace
from omni_model.data.splits import split_of
from omni_model.serve.exchange import Answer, Request

EVERYTHING = LogPolicy()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An answer on its way into the log."""

    request: Request
    answer: Answer
    instruction: str
    """As the model was asked it."""
    source: str = ""
    domain: str = ""
    item: str = ""
    request_id: str = ""

    @property
    def num_bytes(self) -> int:
        """Bytes of inputs that it holds in memory."""
        return sum(map(len, self.request.content.values()))


def store(ws: Workspace, chunk: Sequence[Entry], policy: LogPolicy) -> int:
    """Store a chunk; returns the number of rows. A row never names bytes that are not there.

    Bytes that were in the store already may be deleted with another sample before the row that names them is seen. So
    they are looked for once more when it can be (see `flows.steps.forgetting.remove_blobs`).
    """
    kept = [policy.keeps_sample(entry.request, entry.answer.used) for entry in chunk]
    wanted = [
        (row, name, entry.request.content[name])
        for row, entry in enumerate(chunk)
        if kept[row]
        for name in entry.answer.used
    ]
    inputs: list[dict[str, str]] = [{} for _ in chunk]
    content: dict[str, bytes] = {}
    for (row, name, data), digest in zip(wanted, ws.blobs.put_many([data for *_, data in wanted]), strict=True):
        inputs[row][name] = digest
        content[digest] = data
    made = [sample_of(ws, entry, inputs[row], policy) if kept[row] else None for row, entry in enumerate(chunk)]
    rows = [
        prediction_of(entry, None if sample is None else sample.id, policy)
        for entry, sample in zip(chunk, made, strict=True)
    ]
    now = ws.clock()
    with ws.database.write() as session:
        samples.add_samples(session, {sample.id: sample for sample in made if sample is not None}.values(), now=now)
        predictions.log(session, rows, now=now)
    for digest, data in content.items():
        if not ws.blobs.exists(digest):
            ws.blobs.put(data)
    return len(chunk)


def sample_of(
    ws: Workspace, entry: Entry, inputs: Mapping[str, str] | None = None, policy: LogPolicy = EVERYTHING
) -> NewSample:
    """The sample that a request stands for. The same content is the same sample; what is left out of the log makes no
    part of its id. `inputs` are the digests of what was used; None: the bytes are stored here.
    """
    if inputs is None:
        inputs = {name: ws.blobs.put(entry.request.content[name]) for name in entry.answer.used}
    fields = policy.kept({"source": entry.source, "domain": entry.domain, "item": entry.item})
    whole = hashlib.blake2b(digest_size=16)
    names = (f"{name} {inputs[name]}" for name in sorted(inputs))
    for part in (entry.request.task, entry.instruction, fields["item"], *names):
        whole.update(f"{len(part)} {part}".encode())
    id_ = f"live-{whole.hexdigest()}"
    return NewSample(
        id=id_,
        task=entry.request.task,
        instruction=entry.instruction,
        inputs=inputs,
        split=split_of(entry.item or id_),
        time=ws.clock(),
        **fields,
    )


def prediction_of(entry: Entry, sample_id: str | None, policy: LogPolicy = EVERYTHING) -> NewPrediction:
    """The row of an answer."""
    answer, latency = entry.answer, entry.answer.latency
    fields = policy.kept(
        {
            "source": entry.source,
            "domain": entry.domain,
            "request_id": entry.request_id,
            "key": entry.request.key,
        }
    )
    detail: dict[str, object] = {
        "entropy": answer.entropy,
        "ignored": dict(answer.ignored),
        "queue_s": latency.queue_s,
        "decode_s": latency.decode_s,
        "encode_s": latency.encode_s,
        "fuse_s": latency.fuse_s,
    }
    detail |= {name: fields[name] for name in ("request_id", "key") if fields[name]}
    if answer.budget is not None:
        detail["budget"] = answer.budget
    return NewPrediction(
        id=answer.id,
        version=answer.version,
        task=answer.task,
        answer=answer.answer,
        confidence=min(1.0, max(0.0, answer.probability)),
        sample_id=sample_id,
        domain=fields["domain"] or fields["source"],
        modalities=answer.used,
        latency_s=latency.total_s,
        detail=detail,
    )
