"""How the engine is bounded. Frozen values, checked when made; importing this file imports no torch.

>>> EngineConfig(queue_rows=0)
Traceback (most recent call last):
ValueError: service.queue_rows must be above 0, got 0. Set OMNI_SERVICE__QUEUE_ROWS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

DEVICE = re.compile(r"cpu(:\d+)?|cuda:\d+")
MAY_BE_0 = ("small_bytes", "cache_bytes", "mirror_rows", "mirror_bytes")


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Bounds of the engine's queue, batches and cache."""

    queue_rows: int = 256
    """Requests that may wait or be computed at once; one more is refused."""
    max_batch_rows: int = 32
    """Requests of one batch at most."""
    max_batch_tokens: int = 8192
    """Tokens of one batch at most, every row counted as long as its longest; one request alone may have more."""
    cache_bytes: int = 256 * 2**20
    """Memory for encoder outputs, in bytes; 0 switches the cache off."""
    decode_threads: int = 2
    """Threads that turn the bytes of large requests into what the encoders take."""
    small_bytes: int = 2**15
    """Requests of so many bytes at most are decoded with their batch: handing them over would cost more."""
    degrade_from: float = 0.5
    """Share of the queue in use from which answers become cheaper, down to the cheapest at a full queue; 1 is off."""
    mirror_rows: int = 64
    """Requests that may wait for a trial's second answer; what does not fit is dropped and counted."""
    mirror_bytes: int = 64 * 2**20
    """Bytes of inputs that may wait for it."""
    placement: Mapping[str, str] = field(default_factory=dict)
    """Modality to device (`cpu`, `cuda:0`); `*` for the modalities not named, `fuse` for the layers across modalities.
    Empty: text on the CPU and the rest on the first GPU if there is one, else all on the CPU."""

    def __post_init__(self) -> None:
        for entry in fields(EngineConfig):
            value, least = getattr(self, entry.name), 0 if entry.name in MAY_BE_0 else 1
            if entry.type == "int" and not value >= least:
                bound = "0 or more" if least == 0 else "above 0"
                raise ValueError(
                    f"service.{entry.name} must be {bound}, got {value!r}. Set OMNI_SERVICE__{entry.name.upper()}."
                )
        for name, device in self.placement.items():
            if not (name and DEVICE.fullmatch(device)):
                raise ValueError(
                    f"service.placement puts {name!r} on {device!r}; devices are cpu and cuda:0, cuda:1, … "
                    """Set OMNI_SERVICE__PLACEMENT, e.g. {"text": "cpu", "image": "cuda:0"}."""
                )
        if not 0 <= self.degrade_from <= 1:
            raise ValueError(
                f"service.degrade_from must lie in [0, 1], got {self.degrade_from}. Set OMNI_SERVICE__DEGRADE_FROM."
            )
