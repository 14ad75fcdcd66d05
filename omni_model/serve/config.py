"""How the engine is bounded. Frozen values, checked when made; importing this file imports no torch.

>>> EngineConfig(queue_rows=0)
Traceback (most recent call last):
ValueError: service.queue_rows must be above 0, got 0. Set OMNI_SERVICE__QUEUE_ROWS.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


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
    """Threads that turn bytes into what the encoders take."""

    def __post_init__(self) -> None:
        for entry in fields(EngineConfig):
            value, least = getattr(self, entry.name), 0 if entry.name == "cache_bytes" else 1
            if not value >= least:
                bound = "0 or more" if least == 0 else "above 0"
                raise ValueError(
                    f"service.{entry.name} must be {bound}, got {value!r}. Set OMNI_SERVICE__{entry.name.upper()}."
                )
