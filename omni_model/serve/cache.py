"""Encoder outputs by content: what was encoded once is not encoded again while it fits into the memory given.

A key is the block's name, the encoders' identity and a keyed BLAKE2b of the content. Keyed, because whoever could find
two contents under one hash could plant answers; with a secret of this process nobody can. Tuning the interaction layers
leaves the encoders' identity alone, so a promotion keeps the cache warm; other encoders simply ask under other keys.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

from torch import Tensor

ENTRY_BYTES = 512
"""What an entry costs beside its numbers: key, tensor header, links."""


class Key(NamedTuple):
    """Names the tokens of one content under one set of encoders."""

    block: str
    """A modality, or the instruction."""
    space: str
    """Identity of encoders and preprocessing."""
    content: bytes
    """Keyed hash of the encoded bytes."""


@dataclass(frozen=True, kw_only=True)
class CacheCounts:
    """What the cache did so far, and holds now."""

    num_hits: int
    num_misses: int
    num_entries: int
    num_bytes: int
    bytes_saved: int
    """Bytes of tokens that were not computed again."""

    @property
    def hit_rate(self) -> float | None:
        """Share of what was asked for that was there, 0-1; None before anything was."""
        num_asked = self.num_hits + self.num_misses
        return self.num_hits / num_asked if num_asked else None


Compute = Callable[[Sequence[Key]], Mapping[Key, Tensor]]


class FeatureCache:
    """Tokens [L, D] by key, the least recently used dropped first. Safe to share between threads."""

    def __init__(self, max_bytes: int, *, secret: bytes) -> None:
        if not 16 <= len(secret) <= blake2b.MAX_KEY_SIZE:
            raise ValueError(f"The secret must have 16 to 64 bytes, got {len(secret)}. Use os.urandom(32).")
        self._max_bytes = max_bytes
        self._secret = secret
        self._entries: OrderedDict[Key, Tensor] = OrderedDict()
        self._coming: dict[Key, Future[Tensor]] = {}
        self._lock = threading.Lock()
        self._num_bytes = self._num_hits = self._num_misses = self._bytes_saved = 0

    def key(self, block: str, space: str, content: bytes) -> Key:
        """The key of a content."""
        return Key(block, space, blake2b(content, key=self._secret, digest_size=32).digest())

    def __contains__(self, key: Key) -> bool:
        """Whether the tokens are there now. Counts nothing."""
        with self._lock:
            return key in self._entries

    def num_tokens(self, key: Key) -> int:
        """Length of the tokens; 0 if they are not there. Counts nothing."""
        with self._lock:
            tokens = self._entries.get(key)
        return 0 if tokens is None else tokens.shape[0]

    def fetch(self, keys: Sequence[Key], compute: Compute) -> dict[Key, Tensor]:
        """The tokens of all keys. Those missing are computed, in one call; what another thread computes is waited for.

        If `compute` raises, nothing of its keys is kept, and whoever waited for them computes for itself.
        """
        found: dict[Key, Tensor] = {}
        wanted = list(dict.fromkeys(keys))
        while wanted:
            mine, theirs = self._claim(wanted, found)
            if mine:
                found |= self._fill(mine, compute)
            wanted = [key for key, future in theirs.items() if not _arrived(key, future, found)]
        return found

    def counts(self) -> CacheCounts:
        """The counts as of now."""
        with self._lock:
            return CacheCounts(
                num_hits=self._num_hits,
                num_misses=self._num_misses,
                num_entries=len(self._entries),
                num_bytes=self._num_bytes,
                bytes_saved=self._bytes_saved,
            )

    def _claim(self, wanted: Sequence[Key], found: dict[Key, Tensor]) -> tuple[list[Key], dict[Key, Future[Tensor]]]:
        """Take what is there into `found`; of the rest, what this thread has to compute and what others are at."""
        mine: list[Key] = []
        theirs: dict[Key, Future[Tensor]] = {}
        with self._lock:
            for key in wanted:
                if (tokens := self._entries.get(key)) is not None:
                    self._entries.move_to_end(key)
                    self._num_hits += 1
                    self._bytes_saved += _size(tokens)
                    found[key] = tokens
                elif (future := self._coming.get(key)) is not None:
                    theirs[key] = future
                else:
                    self._num_misses += 1
                    self._coming[key] = Future()
                    mine.append(key)
        return mine, theirs

    def _fill(self, mine: Sequence[Key], compute: Compute) -> dict[Key, Tensor]:
        made: Mapping[Key, Tensor] = {}
        try:
            made = compute(mine)
            return {key: made[key] for key in mine}
        finally:
            with self._lock:
                for key in mine:
                    future = self._coming.pop(key)
                    if key in made:
                        self._keep(key, made[key])
                        future.set_result(made[key])
                    else:
                        future.cancel()

    def _keep(self, key: Key, tokens: Tensor) -> None:
        size = _size(tokens)
        if size > self._max_bytes:
            return
        self._entries[key] = tokens
        self._num_bytes += size
        while self._num_bytes > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._num_bytes -= _size(oldest)


def _size(tokens: Tensor) -> int:
    return tokens.numel() * tokens.element_size() + ENTRY_BYTES


def _arrived(key: Key, future: Future[Tensor], found: dict[Key, Tensor]) -> bool:
    """Wait for another thread's tokens; False if that thread failed."""
    try:
        found[key] = future.result()
    except CancelledError:
        return False
    return True
