"""What an engine tells of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omni_model.serve.cache import CacheCounts
from omni_model.serve.devices import DeviceCounts


@dataclass(frozen=True, kw_only=True)
class EngineCounts:
    """What the engine holds now, and what became of second answers so far."""

    num_open: int
    """Requests taken and not answered yet."""
    num_queued: int
    """Those of them that wait for a batch."""
    num_mirrors_waiting: int
    """Answered requests that wait for their second answer."""
    num_mirrored: int
    """Second answers given."""
    num_mirrors_dropped: int
    """Second answers not computed for want of room or time, or because their version had left."""
    num_mirrors_failed: int
    """Second answers tried in vain."""
    num_trial_failures: int
    """Requests that the version on trial failed at, and that the version in service answered instead."""
    cache: CacheCounts
    devices: Mapping[str, DeviceCounts]
    """By device, as placed."""
