"""The engine: takes requests, answers them in batches with the version in service, and changes versions under load.

A request goes through a bounded door, is decoded by a few threads, waits in one queue, and is answered in a batch. The
version is one reference, read once a batch: a swap is one assignment, and no request is lost or answered by two.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from omni_model.data.errors import DecodeError, RowError
from omni_model.errors import OmniError
from omni_model.msn.choice import Selector
from omni_model.protocol import LoopModel
from omni_model.serve.batcher import Clock, MicroBatcher
from omni_model.serve.budget import allowance, left_by_load
from omni_model.serve.cache import CacheCounts, FeatureCache, Key
from omni_model.serve.config import EngineConfig
from omni_model.serve.errors import (
    DeadlinePassed,
    EngineClosed,
    NotAnswerable,
    NothingServed,
    Overloaded,
    VersionRefused,
)
from omni_model.serve.exchange import Answer, Latency, Prepared, Request
from omni_model.serve.golden import check
from omni_model.serve.preparing import instruction_of, prepare
from omni_model.serve.served import Served, encode, fuse, served

logger = logging.getLogger(__name__)

ROOM_FOR_CANARIES = 16
"""Places in the queue that ordinary requests cannot take, so that a full queue does not look like a dead model."""


@dataclass(frozen=True, kw_only=True)
class EngineCounts:
    """What the engine holds now."""

    num_open: int
    """Requests taken and not answered yet."""
    num_queued: int
    """Those of them that wait for a batch."""
    cache: CacheCounts


class Engine:
    """Answers requests with the version in service. Start it once a process; `close` drains it."""

    def __init__(
        self,
        config: EngineConfig,
        *,
        secret: bytes,
        clock: Clock = time.monotonic,
        on_batch: Callable[[int], None] = lambda num_rows: None,
        fallback: Selector | None = None,
    ) -> None:
        self._config, self._clock, self._fallback = config, clock, fallback
        self._cache = FeatureCache(config.cache_bytes, secret=secret)
        self._served: Served | None = None
        self._warm: dict[int, Served] = {}
        self._swapping = threading.Lock()
        self._door = threading.Lock()
        self._num_open = 0
        self._closed = False
        self._tokens_per_step: dict[str, float] = {}
        self._decoders = ThreadPoolExecutor(config.decode_threads, thread_name_prefix="decoder")
        self._batcher: MicroBatcher[Prepared, Answer] = MicroBatcher(
            self._compute,
            max_queue=config.queue_rows + ROOM_FOR_CANARIES,
            max_rows=config.max_batch_rows,
            max_tokens=config.max_batch_tokens,
            clock=clock,
            on_batch=on_batch,
        )

    @property
    def served(self) -> Served | None:
        """The version in service; None before the first."""
        return self._served

    @property
    def warm_versions(self) -> tuple[int, ...]:
        """Versions in memory: the one in service, and the one before it."""
        return tuple(self._warm)

    def counts(self) -> EngineCounts:
        """What the engine holds now."""
        return EngineCounts(num_open=self._num_open, num_queued=len(self._batcher), cache=self._cache.counts())

    def submit(self, request: Request, *, deadline_s: float = float("inf")) -> Future[Answer]:
        """Take a request that is worth nothing after `deadline_s`.

        Raises :class:`Overloaded` when the queue is full, :class:`EngineClosed` after `close`. The future raises
        :class:`DeadlinePassed`, :class:`NothingServed`, :class:`NotAnswerable`, or `ValueError` for bad input.
        """
        return self._take(request, deadline_s, self._config.queue_rows)

    def canary(self, *, deadline_s: float) -> Answer:
        """An answer to the first task's instruction by the way that every request takes, or whatever prevents it."""
        version = self._served
        if version is None:
            raise NothingServed
        request = Request(id="canary", task=next(iter(version.tasks)))
        waiting = self._take(request, deadline_s, self._config.queue_rows + ROOM_FOR_CANARIES)
        try:
            return waiting.result(timeout=deadline_s)
        except TimeoutError as error:
            raise DeadlinePassed(0.0) from error

    def put_in_service(
        self,
        version: int,
        generation: int,
        load: Callable[[], LoopModel],
        *,
        golden: Sequence[Request] = (),
        selector: Selector | None = None,
    ) -> None:
        """Load a version beside the one in service, check it on golden requests, and only then change over.

        Runs in the caller's thread; traffic goes on meanwhile. A version that is still warm is neither loaded nor
        checked again, so that nothing stands in the way of going back. Raises :class:`VersionRefused` if it cannot be
        loaded or fails its check; the old one then stays.
        """
        with self._swapping:
            try:
                known = self._warm.get(version)
                if known is not None:
                    fresh = replace(known, generation=generation, selector=selector or known.selector)
                else:
                    fresh = served(version, generation, load(), selector)
                    check(fresh, golden)
                    fresh = replace(fresh, fallback=self._fallback)
            except Exception as error:
                raise VersionRefused(version, str(error) or type(error).__name__) from error
            old = self._served
            self._served = fresh
            self._warm = {each.version: each for each in (old, fresh) if each is not None}

    def set_selector(self, version: int, selector: Selector | None) -> None:
        """Give a version in memory another selector; one that is not in memory is left alone."""
        with self._swapping:
            known = self._warm.get(version)
            if known is None:
                return
            fresh = self._warm[version] = replace(known, selector=selector)
            if self._served is not None and self._served.version == version:
                self._served = fresh

    def withdraw(self) -> None:
        """Serve nothing any more; what was in service stays warm."""
        self._served = None

    def close(self) -> None:
        """Take no more requests, answer those taken, and end the threads."""
        with self._door:
            self._closed = True
        self._decoders.shutdown(wait=True)
        self._batcher.close()

    def _take(self, request: Request, deadline_s: float, max_open: int) -> Future[Answer]:
        with self._door:
            if self._closed:
                raise EngineClosed
            if self._num_open >= max_open:
                raise Overloaded(self._num_open, self._batcher.wait_s(self._num_open))
            self._num_open += 1
            answer: Future[Answer] = Future()
            answer.add_done_callback(self._left)
            now = self._clock()
            self._decoders.submit(self._make_ready, request, now, now + deadline_s, answer)
        return answer

    def _left(self, _answer: Future[Answer]) -> None:
        with self._door:
            self._num_open -= 1

    def _make_ready(self, request: Request, taken: float, deadline: float, answer: Future[Answer]) -> None:
        """Decode a request and put it in the queue; whatever prevents that becomes its answer."""
        if not answer.set_running_or_notify_cancel():
            return
        began = self._clock()
        try:
            if began > deadline:
                raise DeadlinePassed(began - deadline)
            version = self._served
            if version is None:
                raise NothingServed
            left = left_by_load(self._num_open, self._config.queue_rows, self._config.degrade_from)
            ready = prepare(version, request, self._cache, allowance(request.budget, left))
            now = self._clock()
            ready = replace(ready, queued_s=began - taken, decode_s=now - began, ready_at=now)
            waiting = self._batcher.submit(ready, num_tokens=self._tokens_of(ready), deadline=deadline)
        except (OmniError, ValueError) as error:
            answer.set_exception(error)
        except Exception as error:  # noqa: BLE001  a decoder or model of somebody else's may raise anything
            answer.set_exception(NotAnswerable(error))
        else:
            waiting.add_done_callback(partial(_pass_on, to=answer))

    def _compute(self, batch: Sequence[Prepared]) -> list[Answer]:
        """Answers to a batch by the version that is in service as it begins."""
        began, version = self._clock(), self._served
        if version is None:
            raise NothingServed
        try:
            rows = [row if row.space == version.space else self._again(version, row) for row in batch]
            wanted = [key for row in rows for key in row.keys.values()]
            tokens = self._cache.fetch(wanted, partial(self._encode, version, rows))
            encoded = self._clock()
            said_BA = fuse(version, [row.keys for row in rows], tokens, [row.request.task for row in rows])
        except (OmniError, RowError, DecodeError):
            raise
        except Exception as error:
            if len(batch) > 1:
                raise  # the batcher halves the batch and comes back
            raise NotAnswerable(error) from error
        spent = {"encode_s": encoded - began, "fuse_s": self._clock() - encoded}
        answers = []
        for row, said_A in zip(rows, said_BA.tolist(), strict=True):
            latency = Latency(queue_s=row.queued_s + began - row.ready_at, decode_s=row.decode_s, **spent)
            answers.append(answer_of(version, row, dict(zip(version.model.answers, said_A, strict=True)), latency))
        return answers

    def _again(self, version: Served, row: Prepared) -> Prepared:
        """A request that was prepared for other encoders, prepared for these."""
        fresh = prepare(version, row.request, self._cache, row.allowance)
        return replace(fresh, queued_s=row.queued_s, decode_s=row.decode_s, ready_at=row.ready_at)

    def _encode(self, version: Served, rows: Sequence[Prepared], missing: Sequence[Key]) -> Mapping[Key, Tensor]:
        """Tokens that the cache lacks; a row whose tokens were dropped since it was prepared is prepared again."""
        values: dict[Key, Tensor] = {key: value for row in rows for key, value in row.values.items()}
        empty = FeatureCache(0, secret=bytes(32))
        for key in missing:
            if key not in values:
                row = next(row for row in rows if key in row.keys.values())
                block = next(name for name, known in row.keys.items() if known == key)
                again = prepare(version, row.request, empty, row.allowance)
                values[key] = again.values[again.keys[block]]
        made = encode(version, {key: values[key] for key in missing})
        for key, tokens in made.items():
            self._tokens_per_step[key.block] = tokens.shape[0] / values[key].shape[0]
        return made

    def _tokens_of(self, row: Prepared) -> int:
        """About how many tokens a request has: known for what is cached, guessed from the last ones for the rest."""
        new = sum(self._tokens_per_step.get(key.block, 1.0) * len(value) for key, value in row.values.items())
        return 1 + round(new) + sum(self._cache.num_tokens(key) for key in row.keys.values() if key not in row.values)


def answer_of(version: Served, row: Prepared, said: Mapping[str, float], latency: Latency) -> Answer:
    """One row's answer out of the probabilities of all answers."""
    task = version.tasks[row.request.task]
    probabilities = {answer: said[answer] for answer in task.answers}
    return Answer(
        id=row.request.id,
        version=version.version,
        generation=version.generation,
        task=row.request.task,
        instruction=instruction_of(version, row.request),
        answer=max(probabilities, key=probabilities.__getitem__),
        probabilities=probabilities,
        received=tuple(sorted(row.request.content)),
        used=tuple(sorted(name for name in row.request.content if name not in row.ignored)),
        ignored=dict(row.ignored),
        latency=latency,
        budget=None if row.allowance.budget is None else row.allowance.budget.share,
    )


def _pass_on(source: Future[Answer], to: Future[Answer]) -> None:
    """Settle one future as another was."""
    error = source.exception()
    if error is None:
        to.set_result(source.result())
    else:
        to.set_exception(error)
