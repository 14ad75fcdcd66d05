"""The log of answers, written off the hot path: a bounded buffer, and one thread that empties it into the stores.

Inputs go to the blob store first, then samples and predictions in one transaction, so a row never names bytes that are
not there. While the stores cannot be reached the buffer fills; what does not fit is counted and not logged.
"""

import hashlib
import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from db.errors import BlobStoreUnavailable, DatabaseUnavailable
from db.records import NewPrediction, NewSample
from db.repository import predictions, samples
from flows.workspace import Workspace
from omni_model.data.splits import split_of
from omni_model.serve.exchange import Answer, Request

logger = logging.getLogger(__name__)

CHUNK_ROWS = 128
"""Answers of one transaction at most."""
RETRY_S = 0.5


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


@dataclass(frozen=True, kw_only=True)
class LogCounts:
    """What became of the answers given so far."""

    num_written: int
    num_dropped: int
    """Did not fit into the buffer."""
    num_failed: int
    """Could not be written for another reason than an unreachable store."""
    num_waiting: int


class PredictionLog:
    """Takes entries at once and writes them soon."""

    def __init__(self, ws: Workspace, *, max_rows: int, max_bytes: int) -> None:
        self._ws, self._max_rows, self._max_bytes = ws, max_rows, max_bytes
        self._waiting: deque[Entry] = deque()
        self._pending: set[str] = set()
        self._num_bytes = self._num_written = self._num_dropped = self._num_failed = 0
        self._changed = threading.Condition()
        self._closing = False
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def add(self, entry: Entry) -> bool:
        """Take an entry; False, and it is counted, if the buffer is full. Never waits for a store."""
        with self._changed:
            too_much = self._num_bytes + entry.num_bytes > self._max_bytes
            if len(self._pending) >= self._max_rows or too_much or self._closing:
                self._num_dropped += 1
                return False
            self._waiting.append(entry)
            self._pending.add(entry.request.id)
            self._num_bytes += entry.num_bytes
            self._changed.notify_all()
        return True

    def wait_for(self, prediction_id: str, timeout_s: float) -> bool:
        """Wait until an answer is no longer on its way into the log; False if it still is after the time."""
        with self._changed:
            return self._changed.wait_for(lambda: prediction_id not in self._pending, timeout_s)

    def counts(self) -> LogCounts:
        """The counts as of now."""
        with self._changed:
            return LogCounts(
                num_written=self._num_written,
                num_dropped=self._num_dropped,
                num_failed=self._num_failed,
                num_waiting=len(self._pending),
            )

    def close(self, timeout_s: float = 3.0) -> None:
        """Write what waits, for a limited time, and end the thread; what is lost then is said."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        self._gone.set()
        self._thread.join(2 * RETRY_S)
        if lost := self.counts().num_waiting:
            logger.error("%d answers could not be logged before the end", lost)

    def _run(self) -> None:
        while chunk := self._next():
            num_written = self._write(chunk)
            with self._changed:
                self._num_written += num_written
                self._num_failed += len(chunk) - num_written
                self._num_bytes -= sum(entry.num_bytes for entry in chunk)
                self._pending -= {entry.request.id for entry in chunk}
                self._changed.notify_all()

    def _next(self) -> list[Entry]:
        """What waits, up to a chunk; empty once closed and written."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            if self._gone.is_set():
                return []
            return [self._waiting.popleft() for _ in range(min(CHUNK_ROWS, len(self._waiting)))]

    def _write(self, chunk: Sequence[Entry]) -> int:
        """Write a chunk, for as long as it takes; a chunk that cannot be written is tried row by row."""
        while True:
            try:
                return store(self._ws, chunk)
            except (DatabaseUnavailable, BlobStoreUnavailable) as error:
                logger.warning("the log waits for its stores: %s", error)
                if self._gone.wait(RETRY_S):
                    return 0
            except Exception:
                if len(chunk) > 1:
                    return sum(self._write([entry]) for entry in chunk)
                logger.exception("an answer cannot be logged: %s", chunk[0].request.id)
                return 0


def store(ws: Workspace, chunk: Sequence[Entry]) -> int:
    """Bytes first, then samples and predictions in one transaction; returns the number of rows."""
    rows = [(entry, sample_of(ws, entry)) for entry in chunk]
    with ws.database.write() as session:
        samples.add_samples(session, [sample for _, sample in rows], now=ws.clock())
        predictions.log(session, [prediction_of(entry, sample.id) for entry, sample in rows], now=ws.clock())
    return len(chunk)


def sample_of(ws: Workspace, entry: Entry) -> NewSample:
    """The sample that a request stands for, its used inputs stored. The same content is the same sample."""
    request = entry.request
    inputs = {name: ws.blobs.put(request.content[name]) for name in entry.answer.used}
    whole = hashlib.blake2b(digest_size=16)
    for part in (request.task, entry.instruction, entry.item, *(f"{name} {inputs[name]}" for name in sorted(inputs))):
        whole.update(f"{len(part)} {part}".encode())
    id_ = f"live-{whole.hexdigest()}"
    return NewSample(
        id=id_,
        task=request.task,
        instruction=entry.instruction,
        inputs=inputs,
        split=split_of(entry.item or id_),
        item=entry.item,
        source=entry.source,
        domain=entry.domain,
        time=ws.clock(),
    )


def prediction_of(entry: Entry, sample_id: str) -> NewPrediction:
    """The row of an answer."""
    answer, latency = entry.answer, entry.answer.latency
    return NewPrediction(
        id=answer.id,
        version=answer.version,
        task=answer.task,
        answer=answer.answer,
        confidence=min(1.0, max(0.0, answer.probability)),
        sample_id=sample_id,
        domain=entry.domain or entry.source,
        modalities=answer.used,
        latency_s=latency.total_s,
        detail={
            "entropy": answer.entropy,
            "ignored": dict(answer.ignored),
            "queue_s": latency.queue_s,
            "decode_s": latency.decode_s,
            "encode_s": latency.encode_s,
            "fuse_s": latency.fuse_s,
            "request_id": entry.request_id,
        },
    )
