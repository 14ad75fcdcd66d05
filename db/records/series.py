"""Records of numbers over time, gathered into points for a picture."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Point:
    """What was measured of one line in one stretch of time."""

    line: str
    """The slice, or the version as text."""
    bucket: int
    """Number of the stretch since the start."""
    at: int
    """The last moment in it at which something was measured, in seconds since 1970."""
    value: float | None
    """Mean of the values; None if none could be measured."""
    num_samples: int
    """Samples behind the values, those of overlapping windows counted again."""
