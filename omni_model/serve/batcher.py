"""A greedy micro-batcher: one bounded first-in-first-out queue, and one thread that takes what is there.

There is no timer. The thread sleeps until something comes, takes all that waits up to a bound, computes it, and looks
again; what arrives meanwhile is the next batch, so batches grow with the load by themselves and an idle queue costs
nothing. A batch that fails is halved until only the request that made it fail is left, which fails alone.

Beside the queue there is a spare lane for what nobody waits for. It is looked at only while the queue is empty, is the
first to be dropped, and never makes the queue full.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from omni_model.serve.errors import DeadlinePassed, EngineClosed, Overloaded

logger = logging.getLogger(__name__)

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Clock = Callable[[], float]

SMOOTHING = 0.2
"""Weight of the newest batch in the mean time a row takes."""
FIRST_GUESS_S = 0.05
"""Time of a row before any was measured."""
SPARE_BATCH_ROWS = 4
"""Rows of a batch of the spare lane at most: a request that comes meanwhile has to wait for it."""
FOREVER = float("inf")


Make = Callable[[], tuple[Request, int]]
"""Makes a request on the batcher's thread, and says how many tokens it has."""


@dataclass(slots=True)
class Waiting(Generic[Request, Answer]):
    """A request in the queue, made or still to be made."""

    made: tuple[Request, int] | None
    """The request and its number of tokens."""
    make: Make[Request] | None
    future: Future[Answer]
    deadline: float
    """By the batcher's clock; infinity for none."""


class MicroBatcher(Generic[Request, Answer]):
    """Computes requests in batches on a thread of its own.

    `compute` takes a batch and returns one answer a request, in order. `max_rows` and `max_tokens` bound a batch, with
    every row counted as long as the longest, as padding makes it; the first request is always taken. `on_batch` hears
    of the batches of the queue, not of the spare lane.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Request]], Sequence[Answer]],
        *,
        max_queue: int,
        max_rows: int,
        max_tokens: int,
        max_spare: int = 0,
        clock: Clock = time.monotonic,
        on_batch: Callable[[int], None] = lambda num_rows: None,
    ) -> None:
        self._compute = compute
        self._max_queue, self._max_rows, self._max_tokens = max_queue, max_rows, max_tokens
        self._max_spare = max_spare
        self._clock = clock
        self._on_batch = on_batch
        self._queue: deque[Waiting[Request, Answer]] = deque()
        self._spare: deque[Waiting[Request, Answer]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._row_s = FIRST_GUESS_S
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    def submit(
        self,
        request: Request,
        *,
        num_tokens: int = 1,
        deadline: float = FOREVER,
        future: Future[Answer] | None = None,
    ) -> Future[Answer]:
        """Queue a request, whose answer goes into `future` if one is given; a cancelled one is not computed.

        Raises :class:`Overloaded` when the queue is full, :class:`EngineClosed` after `close`.
        """
        waiting: Future[Answer] = Future() if future is None else future
        self._put(Waiting((request, num_tokens), None, waiting, deadline))
        return waiting

    def submit_unmade(self, make: Make[Request], *, deadline: float, future: Future[Answer]) -> None:
        """The same for a request that is cheap to make, once its turn has come. What `make` raises fails it alone."""
        self._put(Waiting(None, make, future, deadline))

    def offer(self, request: Request, *, num_tokens: int = 1) -> Future[Answer]:
        """Put a request into the spare lane. Its future is cancelled when it is dropped: at once for want of room."""
        future: Future[Answer] = Future()
        with self._changed:
            if not self._closed and len(self._spare) < self._max_spare:
                self._spare.append(Waiting((request, num_tokens), None, future, FOREVER))
                self._changed.notify()
                return future
        future.cancel()
        return future

    def shed(self) -> None:
        """Drop what waits in the spare lane."""
        with self._changed:
            dropped, self._spare = self._spare, deque()
        for each in dropped:
            each.future.cancel()

    def __len__(self) -> int:
        """Requests that wait in the queue now."""
        return len(self._queue)

    @property
    def num_spare(self) -> int:
        """Requests that wait in the spare lane now."""
        return len(self._spare)

    def wait_s(self, num_rows: int) -> float:
        """How long so many requests will take, by the pace of the last ones; at least a tenth of a second."""
        return max(0.1, num_rows * self._row_s)

    def close(self) -> None:
        """Take no more requests, compute those that wait in the queue, drop the spare lane, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self.shed()

    def _put(self, waiting: Waiting[Request, Answer]) -> None:
        with self._changed:
            if self._closed:
                raise EngineClosed
            if len(self._queue) >= self._max_queue:
                raise Overloaded(len(self._queue), self.wait_s(len(self._queue)))
            self._queue.append(waiting)
            self._changed.notify()

    def _run(self) -> None:
        while batch := self._next():
            self._work(*batch)
            del batch  # nothing of a batch is kept while waiting for the next

    def _work(self, batch: Sequence[Waiting[Request, Answer]], is_spare: bool) -> None:
        began = self._clock()
        ready = deque(each for each in batch if self._is_due(each, began) and _is_made(each))
        num_ready = len(ready)
        while ready:
            part = self._taken(ready, num_ready)
            if not is_spare:
                self._on_batch(len(part))
            self._answer(part)
        if num_ready and not is_spare:
            per_row_s = (self._clock() - began) / num_ready
            self._row_s += SMOOTHING * (per_row_s - self._row_s)

    def _next(self) -> tuple[list[Waiting[Request, Answer]], bool] | None:
        """What waits, up to the bounds, and whether it is of the spare lane; None once closed and drained."""
        with self._changed:
            while not self._queue and not self._spare and not self._closed:
                self._changed.wait()
            if self._queue:
                return self._taken(self._queue, self._max_rows), False
            if self._spare and not self._closed:
                return self._taken(self._spare, min(SPARE_BATCH_ROWS, self._max_rows)), True
            return None

    def _taken(self, lane: deque[Waiting[Request, Answer]], max_rows: int) -> list[Waiting[Request, Answer]]:
        batch: list[Waiting[Request, Answer]] = []
        longest = 0
        while lane and len(batch) < max_rows:
            made = lane[0].made
            longest = max(longest, 1 if made is None else made[1])
            if batch and longest * (len(batch) + 1) > self._max_tokens:
                break
            batch.append(lane.popleft())
        return batch

    def _is_due(self, each: Waiting[Request, Answer], now: float) -> bool:
        """False for a request that nobody waits for any more; its future is settled."""
        if not each.future.set_running_or_notify_cancel():
            return False
        if now > each.deadline:
            each.future.set_exception(DeadlinePassed(now - each.deadline))
            return False
        return True

    def _answer(self, batch: Sequence[Waiting[Request, Answer]]) -> None:
        """Compute a batch; when it fails, each half by itself."""
        try:
            answers = self._compute([each.made[0] for each in batch if each.made is not None])
            if len(answers) != len(batch):
                raise RuntimeError(f"{len(answers)} answers came for {len(batch)} requests. Mend the computation.")
        except Exception as error:  # noqa: BLE001  whatever one request does must not reach the others
            if len(batch) == 1:
                logger.warning("a request failed alone: %s: %s", type(error).__name__, error)
                batch[0].future.set_exception(error)
                return
            middle = len(batch) // 2
            self._answer(batch[:middle])
            self._answer(batch[middle:])
            return
        for each, answer in zip(batch, answers, strict=True):
            each.future.set_result(answer)


def _is_made(each: Waiting[Request, Answer]) -> bool:
    """Make a request whose turn has come; False if that fails, which is then its answer."""
    if each.make is not None:
        try:
            each.made = each.make()
        except Exception as error:  # noqa: BLE001  whatever one request does must not reach the others
            each.future.set_exception(error)
            return False
    return True
