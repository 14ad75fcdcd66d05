"""What the service's page of metrics says, as numbers: levels as they are, counters as what came since last time."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from monitoring.measures.device import busy_share, share_since
from monitoring.measures.window import Number

COUNTERS = {
    "hits": "omniloop_cache_hits_total",
    "misses": "omniloop_cache_misses_total",
    "dropped": "omniloop_log_dropped_total",
    "unlogged": "omniloop_log_failed_total",
    "cpu_s": "omniloop_process_cpu_seconds_total",
}
NOT_ASKED = ("/health/", "/metrics")
"""Routes of those who look after the service: that it is not ready yet is no error of its own."""
LEVELS = {
    "queue_depth": "omniloop_queued_rows",
    "memory_resident": "omniloop_process_resident_bytes",
}


def read_service(text: str, seen: Mapping[str, Any] | None, now: datetime) -> tuple[list[Number], dict[str, Any]]:
    """Numbers of a page of metrics, and the counters to be given as `seen` next time.

    What the page does not have is not measured. The first time, nothing is known of what came since.
    """
    page, failed, requests = _totals(text)
    found = [_number(metric, page[name]) for metric, name in LEVELS.items() if name in page]
    if (arena := page.get("omniloop_heap_arena_bytes", 0.0)) > 0:
        share = page.get("omniloop_heap_free_bytes", 0.0) / arena
        found.append(_number("memory_fragmentation", share, allocator="glibc"))
    if page.get("omniloop_cuda_reserved_bytes", 0.0) > 0:
        share = page.get("omniloop_cuda_inactive_split_bytes", 0.0) / page["omniloop_cuda_reserved_bytes"]
        found = [number for number in found if number.metric != "memory_fragmentation"]
        found.append(_number("memory_fragmentation", share, allocator="cuda"))
    if "omniloop_gpu_utilisation_ratio" in page:
        found.append(_number("device_utilisation", page["omniloop_gpu_utilisation_ratio"], device="gpu"))
    counters = {name: page[key] for name, key in COUNTERS.items() if key in page}
    counters |= {"failed": failed, "requests": requests, "cores": page.get("omniloop_process_cores", 0.0)}
    if seen:
        found += _since(counters, seen, now, is_gpu="omniloop_gpu_utilisation_ratio" in page)
    return found, {**counters, "at": now.isoformat()}


def _since(counters: Mapping[str, float], seen: Mapping[str, Any], now: datetime, *, is_gpu: bool) -> list[Number]:
    found = []
    if {"hits", "misses"} <= counters.keys() & seen.keys():
        rate, num = share_since(counters["hits"], seen["hits"], counters["misses"], seen["misses"])
        found.append(Number(metric="cache_hit_rate", slice="all", value=rate, num_samples=num))
    fine = counters["requests"] - counters["failed"], seen["requests"] - seen["failed"]
    rate, num = share_since(counters["failed"], seen["failed"], *fine)
    found.append(Number(metric="error_rate", slice="all", value=rate, num_samples=num))
    lost = sum(counters.get(name, 0.0) for name in ("dropped", "unlogged"))
    lost_before = sum(seen.get(name, 0.0) for name in ("dropped", "unlogged"))
    found.append(_number("log_dropped", lost - lost_before if lost >= lost_before else lost))
    if not is_gpu and {"cpu_s"} <= counters.keys() & seen.keys():
        elapsed_s = (now - datetime.fromisoformat(seen["at"])).total_seconds()
        busy = busy_share(counters["cpu_s"], seen["cpu_s"], elapsed_s, int(counters["cores"]) or 1)
        found.append(_number("device_utilisation", busy, device="cpu", cores=int(counters["cores"])))
    return found


def _totals(text: str) -> tuple[dict[str, float], float, float]:
    """Each sample's sum over its labels, the requests that ended with 5xx, and all requests, without `NOT_ASKED`."""
    page: dict[str, float] = {}
    failed, requests = 0.0, 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            page[sample.name] = page.get(sample.name, 0.0) + sample.value
            is_asked = not sample.labels.get("route", "").startswith(NOT_ASKED)
            if sample.name == "omniloop_requests_total" and is_asked:
                requests += sample.value
                failed += sample.value if sample.labels.get("status", "").startswith("5") else 0.0
    return page, failed, requests


def _number(metric: str, value: float | None, **detail: Any) -> Number:
    return Number(metric=metric, slice="all", value=value, num_samples=1, detail=detail)
