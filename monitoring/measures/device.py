"""The machine: how busy the device is, how the memory lies, and what the service says of itself.

What counts up is read as a difference to the measurement before, so nothing needs to be sampled in between and a
restart (a counter that is smaller than before) is seen as one. No GPU, no NVML: none, never 0.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Heap:
    """What the C allocator holds, in bytes."""

    arena_bytes: int
    free_bytes: int

    @property
    def fragmentation(self) -> float | None:
        """Free bytes over held bytes; None if it holds none.

        >>> Heap(arena_bytes=200, free_bytes=50).fragmentation
        0.25
        """
        return self.free_bytes / self.arena_bytes if self.arena_bytes > 0 else None


_MALLINFO2 = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _MallInfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO2]


def heap() -> Heap | None:
    """The heap of this process by glibc's `mallinfo2`; None with another C library."""
    name = ctypes.util.find_library("c")
    ask = getattr(ctypes.CDLL(name), "mallinfo2", None) if name else None
    if ask is None:
        return None
    ask.restype = _MallInfo
    told = ask()
    return Heap(arena_bytes=told.arena, free_bytes=told.fordblks)


def cuda_fragmentation(stats: Mapping[str, Any]) -> float | None:
    """Of `torch.cuda.memory_stats()`: split bytes that lie idle over reserved bytes; None if none are reserved.

    >>> cuda_fragmentation({"inactive_split_bytes.all.current": 3, "reserved_bytes.all.current": 12})
    0.25
    """
    reserved = stats.get("reserved_bytes.all.current", 0)
    return float(stats.get("inactive_split_bytes.all.current", 0) / reserved) if reserved else None


class Nvml(Protocol):
    """What is asked of NVML; the module `pynvml` is one."""

    def nvmlInit(self) -> None: ...  # noqa: N802  its name
    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any: ...  # noqa: N802
    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any: ...  # noqa: N802
    def nvmlShutdown(self) -> None: ...  # noqa: N802


def gpu_utilisation(nvml: Nvml, uuid: str) -> float:
    """Busy share of a GPU over NVML's own last sample period, 0-1. Raises what NVML raises.

    The GPU is named by its UUID, because NVML numbers all GPUs of a machine and CUDA those that a process may see.
    """
    nvml.nvmlInit()
    try:
        return float(nvml.nvmlDeviceGetUtilizationRates(nvml.nvmlDeviceGetHandleByUUID(uuid)).gpu) / 100
    finally:
        nvml.nvmlShutdown()


def busy_share(cpu_s: float, cpu_s_before: float, elapsed_s: float, num_cores: int) -> float | None:
    """CPU time spent over CPU time there was; None without time in between or after a restart. At most 1.

    >>> busy_share(130.0, 100.0, 60.0, 2)
    0.25
    """
    if elapsed_s <= 0 or cpu_s < cpu_s_before or num_cores < 1:
        return None
    return min(1.0, (cpu_s - cpu_s_before) / (elapsed_s * num_cores))


def share_since(part: float, part_before: float, rest: float, rest_before: float) -> tuple[float | None, int]:
    """Share of `part` in `part + rest` since the measurement before, and of how many; None for none.

    >>> share_since(90, 0, 110, 100)
    (0.9, 100)
    """
    grown, other = part - part_before, rest - rest_before
    if grown < 0 or other < 0:  # the counters began again
        grown, other = part, rest
    num = int(grown + other)
    return (grown / num if num else None), num
