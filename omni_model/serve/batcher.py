"""A greedy micro-batcher: one bounded first-in-first-out queue, and one thread that takes what is there.

There is no timer. The thread sleeps until something comes, takes all that waits up to a bound, computes it, and looks
again; what arrives meanwhile is the next batch, so batches grow with the load by themselves and an idle queue costs
nothing. A batch that fails is halved until only the request that made it fail is left, which fails alone.
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


@dataclass(frozen=True)
class Waiting(Generic[Request, Answer]):
    """A request in the queue."""

    request: Request
    future: Future[Answer]
    num_tokens: int
    deadline: float
    """By the batcher's clock; infinity for none."""


class MicroBatcher(Generic[Request, Answer]):
    """Computes requests in batches on a thread of its own.

    `compute` takes a batch and returns one answer a request, in order. `max_rows` and `max_tokens` bound a batch, with
    every row counted as long as the longest, as padding makes it; the first request is always taken.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Request]], Sequence[Answer]],
        *,
        max_queue: int,
        max_rows: int,
        max_tokens: int,
        clock: Clock = time.monotonic,
        on_batch: Callable[[int], None] = lambda num_rows: None,
    ) -> None:
        self._compute = compute
        self._max_queue, self._max_rows, self._max_tokens = max_queue, max_rows, max_tokens
        self._clock = clock
        self._on_batch = on_batch
        self._queue: deque[Waiting[Request, Answer]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._row_s = FIRST_GUESS_S
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, request: Request, *, num_tokens: int = 1, deadline: float = float("inf")) -> Future[Answer]:
        """Queue a request. Raises :class:`Overloaded` when the queue is full, :class:`EngineClosed` after `close`."""
        future: Future[Answer] = Future()
        with self._changed:
            if self._closed:
                raise EngineClosed
            if len(self._queue) >= self._max_queue:
                raise Overloaded(len(self._queue), self.wait_s(len(self._queue)))
            self._queue.append(Waiting(request, future, num_tokens, deadline))
            self._changed.notify()
        return future

    def __len__(self) -> int:
        """Requests that wait now."""
        return len(self._queue)

    def wait_s(self, num_rows: int) -> float:
        """How long so many requests will take, by the pace of the last ones; at least a tenth of a second."""
        return max(0.1, num_rows * self._row_s)

    def close(self) -> None:
        """Take no more requests, compute those that wait, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next():
            began = self._clock()
            alive = [each for each in batch if self._is_due(each, began)]
            if not alive:
                continue
            self._on_batch(len(alive))
            self._answer(alive)
            per_row_s = (self._clock() - began) / len(alive)
            self._row_s += SMOOTHING * (per_row_s - self._row_s)

    def _next(self) -> list[Waiting[Request, Answer]]:
        """What waits, up to the bounds; empty once closed and drained."""
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            batch: list[Waiting[Request, Answer]] = []
            longest = 0
            while self._queue and len(batch) < self._max_rows:
                longest = max(longest, self._queue[0].num_tokens)
                if batch and longest * (len(batch) + 1) > self._max_tokens:
                    break
                batch.append(self._queue.popleft())
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
            answers = self._compute([each.request for each in batch])
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
