"""What the service's own process takes of the machine, as levels for its page of metrics."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import psutil

from flows.service.metrics import Level
from monitoring.measures.device import Nvml, gpu_utilisation, heap

logger = logging.getLogger(__name__)


def machine_levels() -> Iterator[Level]:
    """CPU time, memory, heap, and the GPU if the model runs on one. What there is not is left out, never 0."""
    process = psutil.Process()
    spent = process.cpu_times()
    yield Level(
        name="omniloop_process_cpu_seconds", help="CPU time spent.", value=spent.user + spent.system, is_total=True
    )
    yield Level(name="omniloop_process_cores", help="Cores that it may run on.", value=len(os.sched_getaffinity(0)))
    resident = process.memory_info().rss
    yield Level(name="omniloop_process_resident_bytes", help="Resident memory.", value=resident)
    lying = heap()
    if lying is not None:
        yield Level(name="omniloop_heap_arena_bytes", help="Held by the C allocator.", value=lying.arena_bytes)
        yield Level(name="omniloop_heap_free_bytes", help="Of these, free in pieces.", value=lying.free_bytes)
    yield from gpu_levels(getattr(sys.modules.get("torch"), "cuda", None), lambda: import_module("pynvml"))


def gpu_levels(cuda: Any, load_nvml: Callable[[], Nvml]) -> Iterator[Level]:
    """The allocator and the use of the GPU that the model runs on; nothing where it runs on none.

    ``cuda`` is `torch.cuda`; None: torch is not imported.
    """
    if cuda is None or not cuda.is_available() or not cuda.is_initialized():
        return
    stats = cuda.memory_stats()
    reserved, idle = (stats.get(f"{name}.all.current", 0) for name in ("reserved_bytes", "inactive_split_bytes"))
    yield Level(name="omniloop_cuda_reserved_bytes", help="Held by the CUDA allocator.", value=reserved)
    yield Level(name="omniloop_cuda_inactive_split_bytes", help="Of these, idle in pieces.", value=idle)
    try:
        uuid = cuda.get_device_properties(cuda.current_device()).uuid
        used = gpu_utilisation(load_nvml(), f"GPU-{str(uuid).removeprefix('GPU-')}")
    except Exception as error:  # noqa: BLE001  NVML has errors of its own, and may not be installed
        logger.debug("NVML does not tell how busy the GPU is: %s", error)
        return
    yield Level(name="omniloop_gpu_utilisation_ratio", help="Busy share of the GPU, by NVML.", value=used)
