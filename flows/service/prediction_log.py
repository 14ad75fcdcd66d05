"""The log of answers, written off the hot path: a bounded buffer, and one thread that empties it into the stores.

The thread gathers for a moment before it writes, because a transaction costs as much as fifty rows, and writes at once
when somebody waits for a row. While the stores cannot be reached the buffer fills; what does not fit is counted and not
logged. Second answers wait until the prediction that they belong to is in the log.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from db.errors import BlobStoreUnavailable, DatabaseUnavailable
from db.records import NewMirror
from db.repository import mirrors
from flows.service.log_policy import LogPolicy
from flows.service.log_rows import EVERYTHING, Entry, prediction_of, sample_of, store
from flows.service.log_tally import LogTally
from flows.workspace import Workspace
from omni_model.serve.exchange import Answer

__all__ = ["Entry", "LogCounts", "PredictionLog", "prediction_of", "sample_of", "store"]

logger = logging.getLogger(__name__)

CHUNK_ROWS = 512
"""Answers of one transaction at most."""
GATHER_S = 0.25
"""How long the first of a chunk waits for others."""
RETRY_S = 0.5
MIRROR_WAIT_S = 10.0
"""How long a second answer waits for its prediction."""


@dataclass(frozen=True, kw_only=True)
class LogCounts:
    """What became of the answers given so far."""

    num_written: int
    num_dropped: int
    """Did not fit into the buffer."""
    num_failed: int
    """Could not be written for another reason than an unreachable store."""
    num_sampled_out: int
    """Not of the share that is logged."""
    num_waiting: int
    num_lost: int
    """Were on their way when a process before this one was killed."""
    num_mirrors_written: int
    num_mirrors_lost: int
    """Second answers whose prediction is not in the log, or that did not fit or could not be written."""


class PredictionLog:
    """Takes entries at once and writes them soon."""

    def __init__(self, ws: Workspace, *, max_rows: int, max_bytes: int, policy: LogPolicy = EVERYTHING) -> None:
        self._ws, self._max_rows, self._max_bytes = ws, max_rows, max_bytes
        self._policy = policy
        self._tally = LogTally(ws.home / "tallies")
        self._waiting: deque[Entry] = deque()
        self._mirrors: deque[tuple[float, NewMirror]] = deque()
        self._pending: set[str] = set()
        self._left_out: dict[str, None] = {}
        self._num_bytes = self._num_written = self._num_dropped = self._num_failed = 0
        self._num_sampled_out = self._num_mirrors_written = self._num_mirrors_lost = 0
        self._num_impatient = 0
        self._lock = threading.Lock()
        self._arrived, self._written = threading.Condition(self._lock), threading.Condition(self._lock)
        self._closing = False
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def add(self, entry: Entry) -> bool:
        """Take an entry; False, and it is counted, if it is sampled out or the buffer is full. Waits for no store."""
        is_taken = self._policy.takes(entry.request)
        with self._lock:
            if not is_taken:
                self._num_sampled_out += 1
                self._leave_out(entry.request.id)
                return False
            too_much = self._num_bytes + entry.num_bytes > self._max_bytes
            if len(self._pending) >= self._max_rows or too_much or self._closing:
                self._num_dropped += 1
                self._leave_out(entry.request.id)
                return False
            self._waiting.append(entry)
            self._pending.add(entry.request.id)
            self._tally.take()
            self._num_bytes += entry.num_bytes
            if len(self._waiting) in (1, CHUNK_ROWS):
                self._arrived.notify()
        return True

    def add_mirror(self, told: Answer, second: Answer) -> None:
        """Take what another version answered to the same request; counted if it does not fit. Waits for nothing."""
        row = NewMirror(
            prediction_id=told.id,
            version=second.version,
            answer=second.answer,
            confidence=min(1.0, max(0.0, second.probability)),
            latency_s=second.latency.total_s,
        )
        with self._lock:
            if len(self._mirrors) >= self._max_rows or self._closing or told.id in self._left_out:
                self._num_mirrors_lost += 1
                return
            self._mirrors.append((time.monotonic(), row))
            self._arrived.notify()

    def wait_for(self, prediction_id: str, timeout_s: float) -> bool:
        """Wait until an answer is no longer on its way into the log; False if it still is after the time."""
        with self._lock:
            if prediction_id not in self._pending:
                return True
            self._num_impatient += 1
            self._arrived.notify()
            try:
                return self._written.wait_for(lambda: prediction_id not in self._pending, timeout_s)
            finally:
                self._num_impatient -= 1

    def counts(self) -> LogCounts:
        """The counts as of now."""
        with self._lock:
            return LogCounts(
                num_written=self._num_written,
                num_dropped=self._num_dropped,
                num_failed=self._num_failed,
                num_sampled_out=self._num_sampled_out,
                num_waiting=len(self._pending),
                num_lost=self._tally.num_lost,
                num_mirrors_written=self._num_mirrors_written,
                num_mirrors_lost=self._num_mirrors_lost,
            )

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, for a limited time, and end the thread; what is lost then is said."""
        with self._lock:
            self._closing = True
            self._arrived.notify()
        self._thread.join(timeout_s)
        self._gone.set()
        self._thread.join(2 * RETRY_S)
        if lost := self.counts().num_waiting:
            logger.error("%d answers could not be logged before the end", lost)
        with self._lock:
            self._tally.close()

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            chunk, seconds = taken
            num_written = self._write(chunk) if chunk else 0
            early = self._write_mirrors(seconds) if seconds else []
            with self._lock:
                self._num_written += num_written
                self._num_failed += len(chunk) - num_written
                self._num_bytes -= sum(entry.num_bytes for entry in chunk)
                self._pending -= {entry.request.id for entry in chunk}
                self._tally.settle(len(chunk))
                self._mirrors.extendleft(reversed(early))
                self._written.notify_all()

    def _next(self) -> tuple[list[Entry], list[tuple[float, NewMirror]]] | None:
        """What waits, up to a chunk; None once closed and written."""
        with self._lock:
            while not (self._waiting or self._mirrors or self._closing):
                self._arrived.wait()
            self._arrived.wait_for(
                lambda: self._closing or self._num_impatient or len(self._waiting) >= CHUNK_ROWS, GATHER_S
            )
            if self._gone.is_set() or (self._closing and not self._waiting and not self._mirrors):
                return None
            chunk = [self._waiting.popleft() for _ in range(min(CHUNK_ROWS, len(self._waiting)))]
            seconds = [self._mirrors.popleft() for _ in range(min(CHUNK_ROWS, len(self._mirrors)))]
            return chunk, seconds

    def _write(self, chunk: Sequence[Entry]) -> int:
        """Write a chunk, for as long as it takes; a chunk that cannot be written is tried row by row."""
        while True:
            try:
                return store(self._ws, chunk, self._policy)
            except (DatabaseUnavailable, BlobStoreUnavailable) as error:
                logger.warning("the log waits for its stores: %s", error)
                if self._gone.wait(RETRY_S):
                    return 0
            except Exception:
                if len(chunk) > 1:
                    return sum(self._write([entry]) for entry in chunk)
                logger.exception("an answer cannot be logged: %s", chunk[0].request.id)
                return 0

    def _write_mirrors(self, seconds: list[tuple[float, NewMirror]]) -> list[tuple[float, NewMirror]]:
        """Write second answers; returns those that came before their prediction and may wait for it still."""
        try:
            with self._ws.database.write() as session:
                early = mirrors.log(session, [row for _, row in seconds], now=self._ws.clock())
        except Exception as error:  # noqa: BLE001  a second answer is worth no more than a line
            logger.warning("%d second answers could not be logged: %s", len(seconds), error)
            with self._lock:
                self._num_mirrors_lost += len(seconds)
            return []
        ids, oldest = {row.prediction_id for row in early}, time.monotonic() - MIRROR_WAIT_S
        with self._lock:
            waits = [
                (since, row)
                for since, row in seconds
                if row.prediction_id in ids
                and row.prediction_id not in self._left_out
                and (row.prediction_id in self._pending or (since > oldest and not self._closing))
            ]
            self._num_mirrors_written += len(seconds) - len(early)
            self._num_mirrors_lost += len(early) - len(waits)
        return waits

    def _leave_out(self, prediction_id: str) -> None:
        """Remember for a while that an answer is not logged, so that nothing waits for its row."""
        self._left_out[prediction_id] = None
        if len(self._left_out) > self._max_rows:
            del self._left_out[next(iter(self._left_out))]
