"""What waits to be synced: answers with their inputs, and feedback, in one SQLite file that survives a kill.

One thread writes, and takes all that waits into one transaction, so that a disk's flush is shared. An answer is logged
in passing; feedback is told to be stored only once it is on the disk, after its answer. The bytes that wait are
bounded: above the bound the oldest answers without feedback go first, and are counted.
"""

import json
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from flows.edge import tables
from flows.edge.records import GivenFeedback, Part, SpoolCounts, Spooled, SpoolError

logger = logging.getLogger(__name__)

MAX_QUEUED = 4_096
"""Answers that may wait for the disk; further ones are not logged, and counted."""
MAX_TOGETHER = 256
"""Writes of one transaction at most."""
OLDEST = "SELECT id, body, num_bytes FROM predictions WHERE refused = '' ORDER BY seq LIMIT ?"
READY = (
    "SELECT f.prediction, f.answer, f.who, p.id IS NOT NULL FROM feedback f "
    "LEFT JOIN predictions p ON p.id = f.prediction WHERE f.refused = '' ORDER BY f.seq"
)

Value = TypeVar("Value")
Write = Callable[[sqlite3.Connection], Any]


class Spool:
    """The spool in `folder`, made if it is not there. One process at a time."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._queue: queue.Queue[tuple[Write, Future[Any]] | None] = queue.Queue()
        self._num_lost = 0
        self._dead = False
        self.changed = threading.Event()
        """Set whenever something new waits; whoever waits for it clears it."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._path = folder / "spool.db"
            self._writer = tables.connect(self._path)
            tables.prepare(self._writer, f"edge-{uuid4().hex}")
        except (OSError, sqlite3.Error) as error:
            raise SpoolError(
                f"The spool in {folder} cannot be opened: {error}. "
                "Mend the folder or stop the process that holds it, or name another one with --spool."
            ) from error
        self._reader = tables.connect(self._path, is_reader=True)
        self._reading = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    @property
    def edge(self) -> str:
        """The edge's own id, made with the spool."""
        return str(self._ask("SELECT value FROM facts WHERE name = 'edge'")[0][0])

    def add(self, row: Spooled, *, task: str) -> bool:
        """Log an answer in passing; False, and it is counted, if too many wait for the disk."""
        if self._queue.qsize() >= MAX_QUEUED or self._dead:
            self._num_lost += 1
            return False
        self._do(lambda db: tables.add(db, row, task, self._max_bytes)).add_done_callback(self._count_lost)
        return True

    def note(self, prediction: str, *, task: str) -> None:
        """Remember that the cloud gave this answer and has logged it, so that feedback on it is passed on."""
        if self._queue.qsize() < MAX_QUEUED:
            self._do(lambda db: tables.remember(db, prediction, task, "cloud"))

    def give_feedback(self, given: GivenFeedback, answers: Mapping[str, Sequence[str]]) -> Future[bool]:
        """Store feedback durably; the future is False if the same was said before.

        `answers`: those of each task that is known here. The future raises `UnknownPrediction`, `OtherFeedback`,
        :class:`SpoolError` for a full spool, and `ValueError` for an answer outside the task's set.
        """
        return self._do(lambda db: tables.give_feedback(db, given, answers, self._max_bytes))

    def part(self, *, max_rows: int, max_bytes: int) -> Part:
        """The oldest of what waits, at least one row if there is any; bounded in rows and bytes."""
        found: list[Spooled] = []
        size = 0
        with self._snapshot() as db:
            for id_, body, num_bytes in db.execute(OLDEST, (max_rows,)).fetchall():
                size += num_bytes
                if found and size > max_bytes:
                    break
                content = db.execute("SELECT modality, data FROM inputs WHERE prediction = ?", (id_,))
                found.append(Spooled(id=id_, body=json.loads(body), content=dict(content.fetchall())))
            waiting = db.execute(READY).fetchall()
        ids = {row.id for row in found}
        told = [(GivenFeedback(prediction=id_, answer=said, who=who), is_here) for id_, said, who, is_here in waiting]
        with_these = [given for given, is_here in told if is_here and given.prediction in ids]
        alone = [given for given, is_here in told if not is_here]
        return Part(predictions=tuple(found), feedback=(*with_these, *alone[:max_rows]))

    def settle(self, predictions: Mapping[str, str], feedback: Mapping[str, str]) -> None:
        """Forget what the cloud has: by prediction id, the reason of a refusal, or empty where it is stored."""
        self._do(lambda db: tables.settle(db, predictions, feedback)).result()

    def counts(self) -> SpoolCounts:
        """What waits and what became of the rest."""
        with self._snapshot() as db:
            rows, told = (
                db.execute(f"SELECT count(*) FROM {table} WHERE refused = ''").fetchone()[0]
                for table in ("predictions", "feedback")
            )
            facts = {name: tables.fact(db, name) for name in ("bytes", "dropped", "refused", "synced")}
        return SpoolCounts(
            waiting=rows,
            waiting_feedback=told,
            waiting_bytes=facts["bytes"],
            dropped=facts["dropped"] + self._num_lost,
            refused=facts["refused"],
            synced=facts["synced"],
        )

    def flush(self) -> None:
        """Wait until everything taken so far is on the disk."""
        self._do(lambda db: None).result()

    def close(self) -> None:
        """Write what was taken, and end the thread."""
        self._queue.put(None)
        self._thread.join()
        with self._reading:
            self._reader.close()
        self._writer.close()

    # -- the writing thread -------------------------------------------------------------------------------------------

    def _do(self, write: Callable[[sqlite3.Connection], Value]) -> Future[Value]:
        done: Future[Value] = Future()
        if self._dead:
            done.set_exception(SpoolError("The spool is closed. Start the edge again."))
        else:
            self._queue.put((write, done))
        return done

    def _run(self) -> None:
        while True:
            entries = [self._queue.get()]
            while entries[-1] is not None and len(entries) < MAX_TOGETHER and not self._queue.empty():
                entries.append(self._queue.get())
            self._write([entry for entry in entries if entry is not None])
            if entries[-1] is None:
                self._dead = True
                return

    def _write(self, entries: Sequence[tuple[Write, Future[Any]]]) -> None:
        """One transaction for all; an entry that fails takes back itself alone, a disk that fails takes all back."""
        outcomes: list[tuple[Future[Any], Any, Exception | None]] = []
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for write, done in entries:
                self._writer.execute("SAVEPOINT entry")
                try:
                    outcomes.append((done, write(self._writer), None))
                except (SpoolError, ValueError) as error:
                    self._writer.execute("ROLLBACK TO entry")
                    outcomes.append((done, None, error))
                self._writer.execute("RELEASE entry")
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            logger.error("the spool could not be written: %s", error)
            for _, done in entries:
                done.set_exception(SpoolError(f"The spool cannot be written: {error}. Free some space on its disk."))
            return
        for done, value, failure in outcomes:
            if failure is None:
                done.set_result(value)
            else:
                done.set_exception(failure)
        self.changed.set()

    def _count_lost(self, done: Future[None]) -> None:
        if done.exception() is not None:
            self._num_lost += 1

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection]:
        """The tables as they were at one moment."""
        with self._reading:
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                self._reader.execute("ROLLBACK")

    def _ask(self, statement: str) -> list[tuple[Any, ...]]:
        with self._reading:
            return self._reader.execute(statement).fetchall()
