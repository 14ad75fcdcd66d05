"""The engine: takes requests, answers them in batches with the version in service, and changes versions under load.

A request goes through a bounded door, waits in one queue, and is decoded and answered in a batch. A large one is
decoded by a few threads of their own before it is queued; for a small one the handing over would cost more than the
decoding. Which versions there are is one reference, read once a batch: a swap is one assignment, and loses no request.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import torch

from omni_model.errors import OmniError
from omni_model.msn.choice import Selector
from omni_model.msn.rules import STATIC_RULES
from omni_model.serve.answering import Answering
from omni_model.serve.batcher import FOREVER, Clock, MicroBatcher
from omni_model.serve.budget import allowance, left_by_load
from omni_model.serve.cache import FeatureCache
from omni_model.serve.config import EngineConfig
from omni_model.serve.counts import EngineCounts
from omni_model.serve.devices import Devices
from omni_model.serve.errors import DeadlinePassed, EngineClosed, NotAnswerable, NothingServed, Overloaded
from omni_model.serve.exchange import Answer, Prepared, Request
from omni_model.serve.placement import placed
from omni_model.serve.routing import routed
from omni_model.serve.served import Served
from omni_model.serve.trial import Mirrors, OnMirror, Trial
from omni_model.serve.versions import Load, Versions

ROOM_FOR_CANARIES = 16
"""Places in the queue that ordinary requests cannot take, so that a full queue does not look like a dead model."""


class Engine:
    """Answers requests with the version in service. Start it once a process; `close` drains it.

    `on_mirror` is told both answers to a request that two versions have answered: the one given, then the second one.
    It runs on the engine's own thread, so it must not wait. The latency of the second one says nothing of decoding,
    and little of encoding, because the first one has left its tokens in the cache. `fallback` chooses the modalities of
    requests with a budget for versions that bring no selector.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        secret: bytes,
        clock: Clock = time.monotonic,
        on_batch: Callable[[int], None] = lambda num_rows: None,
        on_mirror: OnMirror = lambda told, second: None,
        fallback: Selector = STATIC_RULES,
    ) -> None:
        self._config, self._clock = config, clock
        self._cache = FeatureCache(config.cache_bytes, secret=secret)
        self._devices = Devices(placed(config.placement, torch.cuda.device_count()))
        self._versions = Versions(self._devices.placement, fallback)
        self._door = threading.Lock()
        self._num_open = 0
        self._closed = False
        self._mirrors = Mirrors(on_mirror, max_bytes=config.mirror_bytes)
        self._answering = Answering(
            self._versions, self._cache, self._devices, clock, self._mirror, self._mirrors.note_trial_failure
        )
        self._decoders = ThreadPoolExecutor(config.decode_threads, thread_name_prefix="decoder")
        self._batcher: MicroBatcher[Prepared, Answer] = MicroBatcher(
            self._answering,
            max_queue=config.queue_rows + ROOM_FOR_CANARIES,
            max_rows=config.max_batch_rows,
            max_tokens=config.max_batch_tokens,
            max_spare=config.mirror_rows,
            clock=clock,
            on_batch=on_batch,
        )

    @property
    def served(self) -> Served | None:
        """The version in service; None before the first."""
        return self._versions.now.in_service

    @property
    def warm_versions(self) -> tuple[int, ...]:
        """Versions in memory without the one on trial: the one in service last, the one before it first."""
        return tuple(each.version for each in self._versions.now.warm)

    @property
    def trial(self) -> Trial | None:
        """The trial that runs."""
        running = self._versions.now.trial
        return None if running is None else Trial(running.served.version, running.mode, running.share)

    def counts(self) -> EngineCounts:
        """What the engine holds now."""
        mirrors = self._mirrors.counts()
        return EngineCounts(
            num_open=self._num_open,
            num_queued=len(self._batcher),
            num_mirrors_waiting=self._batcher.num_spare,
            num_mirrored=mirrors.num_mirrored,
            num_mirrors_dropped=mirrors.num_dropped,
            num_mirrors_failed=mirrors.num_failed,
            num_trial_failures=mirrors.num_trial_failures,
            cache=self._cache.counts(),
            devices=self._devices.counts(),
        )

    def submit(self, request: Request, *, deadline_s: float = FOREVER) -> Future[Answer]:
        """Take a request that is worth nothing after `deadline_s`.

        Raises :class:`Overloaded` when the queue is full, :class:`EngineClosed` after `close`. The future raises
        :class:`DeadlinePassed`, :class:`NothingServed`, :class:`NotAnswerable`, or `ValueError` for bad input.
        """
        return self._take(request, deadline_s, self._config.queue_rows, may_try=True)

    def canary(self, *, deadline_s: float) -> Answer:
        """An answer to the first task's instruction by the way that every request takes, or whatever prevents it.

        The version in service gives it, whatever is on trial.
        """
        version = self.served
        if version is None:
            raise NothingServed
        request = Request(id="canary", task=next(iter(version.tasks)))
        waiting = self._take(request, deadline_s, self._config.queue_rows + ROOM_FOR_CANARIES, may_try=False)
        try:
            return waiting.result(timeout=deadline_s)
        except TimeoutError as error:
            raise DeadlinePassed(0.0) from error

    def put_in_service(
        self,
        version: int,
        generation: int,
        load: Load,
        *,
        golden: Sequence[Request] = (),
        selector: Selector | None = None,
    ) -> None:
        """Load a version beside the one in service, check it on golden requests, and only then change over.

        Runs in the caller's thread; traffic goes on meanwhile. A version that is in memory, on trial or from before, is
        neither loaded nor checked again, so that nothing stands in the way of going back; its trial ends. Raises
        :class:`VersionRefused` if it cannot be loaded or fails its check; the old one then stays.
        """
        self._versions.put_in_service(version, generation, load, golden, selector)

    def set_selector(self, version: int, selector: Selector | None) -> None:
        """Give a version in memory another selector; one that is not in memory is left alone."""
        self._versions.set_selector(version, selector)

    def start_trial(
        self,
        version: int,
        load: Load,
        *,
        mode: str,
        share: float,
        golden: Sequence[Request] = (),
        selector: Selector | None = None,
        salt: bytes = b"",
    ) -> None:
        """Let another version answer a share of the requests (`canary`), or answer them unheard (`shadow`).

        Loads and checks it as `put_in_service` does. The other version of the two gives these requests a second answer
        when nothing else waits. A trial that runs is replaced. The share is drawn by keys under `salt`, a secret of up
        to 64 bytes. Raises :class:`VersionRefused`, and `ValueError` for another mode, a share outside (0, 1], or the
        version in service.
        """
        self._versions.start_trial(version, load, mode, share, golden, selector, salt)

    def end_trial(self) -> None:
        """The version in service answers everything again. Requests on their way to the other one go to it too."""
        self._versions.end_trial()

    def withdraw(self) -> None:
        """Serve nothing any more; what was in service stays warm."""
        self._versions.withdraw()

    def close(self) -> None:
        """Take no more requests, answer those taken, drop second answers, and end the threads."""
        with self._door:
            self._closed = True
        self._decoders.shutdown(wait=True)
        self._batcher.close()
        self._devices.close()

    def _take(self, request: Request, deadline_s: float, max_open: int, *, may_try: bool) -> Future[Answer]:
        with self._door:
            if self._closed:
                raise EngineClosed
            is_full = self._num_open >= max_open
            if not is_full:
                answer = self._let_in(request, deadline_s, may_try)
        if is_full:
            self._batcher.shed()
            raise Overloaded(self._num_open, self._batcher.wait_s(self._num_open))
        return answer

    def _let_in(self, request: Request, deadline_s: float, may_try: bool) -> Future[Answer]:
        """A small request into the queue, a large one to the decoders. Holds the door."""
        answer: Future[Answer] = Future()
        answer.add_done_callback(self._left)
        now = self._clock()
        if sum(map(len, request.content.values())) <= self._config.small_bytes:
            make = partial(self._ready, request, now, may_try)
            self._batcher.submit_unmade(make, deadline=now + deadline_s, future=answer)
        else:
            self._decoders.submit(self._make_ready, request, now, now + deadline_s, answer, may_try)
        self._num_open += 1
        return answer

    def _left(self, _answer: Future[Answer]) -> None:
        with self._door:
            self._num_open -= 1

    def _make_ready(
        self, request: Request, taken: float, deadline: float, answer: Future[Answer], may_try: bool
    ) -> None:
        """Decode a request and put it in the queue; whatever prevents that becomes its answer."""
        if answer.cancelled():
            return
        late_s = self._clock() - deadline
        try:
            if late_s > 0:
                raise DeadlinePassed(late_s)
            row, num_tokens = self._ready(request, taken, may_try)
            self._batcher.submit(row, num_tokens=num_tokens, deadline=deadline, future=answer)
        except Exception as error:  # noqa: BLE001  it is told to whoever asked
            if answer.set_running_or_notify_cancel():
                answer.set_exception(error)

    def _ready(self, request: Request, taken: float, may_try: bool) -> tuple[Prepared, int]:
        """A request decoded, and about how many tokens it has."""
        began = self._clock()
        left = left_by_load(self._num_open, self._config.queue_rows, self._config.degrade_from)
        allowed = allowance(request.budget, left)
        failed = self._mirrors.note_trial_failure
        try:
            row = routed(self._versions.now, request, self._cache, allowed, may_try=may_try, on_trial_failure=failed)
        except (OmniError, ValueError):
            raise
        except Exception as error:  # a decoder or model of somebody else's may raise anything
            raise NotAnswerable(error) from error
        row.queued_s, row.ready_at = began - taken, self._clock()
        row.decode_s = row.ready_at - began
        row.num_tokens = self._answering.tokens_of(row)
        return row, row.num_tokens

    def _mirror(self, row: Prepared, told: Answer) -> None:
        self._mirrors.offer(self._batcher, row, told, self._clock())
