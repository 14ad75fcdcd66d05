"""A version on trial beside the one in service: which requests it sees, and the second answers of the other version.

A canary answers a share of the requests; in shadow it answers none that anybody hears of. Either way the other version
answers the same requests a second time, so that both can be compared on them. Second answers are computed when nothing
else waits, and are the first to be dropped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import NamedTuple

from omni_model.serve.batcher import MicroBatcher
from omni_model.serve.exchange import Answer, Prepared, Request
from omni_model.serve.served import Served

logger = logging.getLogger(__name__)

CANARY, SHADOW = "canary", "shadow"
OnMirror = Callable[[Answer, Answer], None]


class Trial(NamedTuple):
    """A running trial, as it is told."""

    version: int
    mode: str
    """`canary` or `shadow`."""
    share: float
    """Of the requests, 0-1."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A running trial with its model."""

    served: Served
    mode: str
    share: float
    salt: bytes = field(default=b"", repr=False)

    def takes(self, request: Request) -> bool:
        """Whether a request is of the trial's share."""
        return place_of(request.key or request.id, self.salt) < self.share


def place_of(key: str, salt: bytes = b"") -> float:
    """Place of a key in [0, 1), the same in every process and on every machine that has the same salt.

    So a share takes the same keys each time, and a larger share takes those of a smaller one and more. The salt, up to
    64 bytes, is a secret: without it nobody can choose keys of a place.

    >>> round(place_of("ann"), 4), round(place_of("bob"), 4)
    (0.5517, 0.4568)
    """
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8, key=salt).digest()[:6]) / 2**48


def check_terms(version: int, mode: str, share: float, in_service: int | None) -> None:
    """Raises `ValueError` for a trial that cannot be."""
    if mode not in (CANARY, SHADOW):
        raise ValueError(f"A trial is a canary or a shadow, got {mode!r}. Say which of the two.")
    if not 0 < share <= 1:
        raise ValueError(f"A trial's share must lie above 0 and up to 1, got {share}. Give the share of requests.")
    if version == in_service:
        raise ValueError(f"v{version} is in service already. Try another version beside it.")


class MirrorCounts(NamedTuple):
    """What became of second answers so far."""

    num_mirrored: int
    """Computed."""
    num_dropped: int
    """Not computed: there was no room or no time, or the other version had left."""
    num_failed: int
    """Tried in vain."""
    num_trial_failures: int
    """Requests that the version on trial failed at, and that the version in service answered instead."""


class Mirrors:
    """Offers answered requests to the other version, and tells `on_mirror` both answers. Never fails an answer."""

    def __init__(self, on_mirror: OnMirror, *, max_bytes: int) -> None:
        self._on_mirror, self._max_bytes = on_mirror, max_bytes
        self._lock = threading.Lock()
        self._num_bytes = self._num_mirrored = self._num_dropped = self._num_failed = self._num_trial_failures = 0

    def counts(self) -> MirrorCounts:
        """The counts as of now."""
        with self._lock:
            return MirrorCounts(self._num_mirrored, self._num_dropped, self._num_failed, self._num_trial_failures)

    def note_trial_failure(self) -> None:
        """The version in service stood in for the one on trial."""
        with self._lock:
            self._num_trial_failures += 1

    def offer(self, batcher: MicroBatcher[Prepared, Answer], row: Prepared, told: Answer, now: float) -> None:
        """Have an answered request answered by version `row.mirror` too, some time."""
        size = sum(map(len, row.request.content.values()))
        with self._lock:
            if self._num_bytes + size > self._max_bytes:
                self._num_dropped += 1
                return
            self._num_bytes += size
        second = replace(row, target=row.mirror, mirror=0, told=told, values={}, queued_s=0.0, ready_at=now)
        future = batcher.offer(second, num_tokens=row.num_tokens)
        future.add_done_callback(lambda done: self._settle(told, size, done))

    def _settle(self, told: Answer, size: int, done: Future[Answer]) -> None:
        error = None if done.cancelled() else done.exception()
        with self._lock:
            self._num_bytes -= size
            if done.cancelled() or isinstance(error, Gone):
                self._num_dropped += 1
            elif error is not None:
                self._num_failed += 1
            else:
                self._num_mirrored += 1
        if done.cancelled() or error is not None:
            return
        try:
            self._on_mirror(told, done.result())
        except Exception:
            logger.exception("the second answer to %s was not taken", told.id)


class Gone(Exception):
    """The version that should give a second answer is not in memory any more."""
