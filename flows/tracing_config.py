"""How many requests are traced, and how patient the sending is. Importing this file imports nothing heavy.

>>> TracingConfig(ratio=2)
Traceback (most recent call last):
ValueError: tracing.ratio must lie in [0, 1], got 2. Set OMNI_TRACING__RATIO.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TracingConfig:
    """OpenTelemetry traces; they are on when ``OTEL_EXPORTER_OTLP_ENDPOINT`` names a collector."""

    ratio: float = 1.0
    """Share of the requests that are traced, 0-1, unless whoever asks says in `traceparent` whether to. Rounds always
    are."""
    max_spans: int = 2048
    """Spans that may wait to be sent; further ones are dropped."""
    timeout_s: float = 5.0
    """What the collector gets to answer in, and what is waited for it at the end of a process."""

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise ValueError(f"tracing.ratio must lie in [0, 1], got {self.ratio}. Set OMNI_TRACING__RATIO.")
        for name in ("max_spans", "timeout_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(
                    f"tracing.{name} must be above 0, got {getattr(self, name)}. Set OMNI_TRACING__{name.upper()}."
                )
