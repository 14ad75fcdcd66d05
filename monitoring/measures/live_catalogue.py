"""Every number that is measured of live traffic and of the machine: definition, unit, and where it comes from.

A rule names its metric by the name here. What validation measures besides is in `monitoring.measures.catalogue`.

>>> KNOWN["latency_p95"].unit, KNOWN["device_utilisation"].unit
('s', 'fraction')
"""

from __future__ import annotations

from monitoring.measures.catalogue import MEASURES, Measure

_LOG, _PROBE, _SERVICE = "log of predictions", "recent samples asked again", "the service's metrics"


def _live(name: str, unit: str, definition: str, source: str, *, higher_is_better: bool = False) -> Measure:
    return Measure(name=name, unit=unit, higher_is_better=higher_is_better, definition=definition, source=source)


_ALL = (
    _live("latency_p99", "s", "The time that 99 % of the answers keep within, nearest rank.", _LOG),
    _live("num_predictions", "rows", "Answers in the window.", _LOG, higher_is_better=True),
    _live("confidence", "fraction", "Mean probability of the answers.", _LOG, higher_is_better=True),
    _live("uncertainty", "nat", "Mean entropy of the calibrated probabilities of an answer.", _LOG),
    _live("modality_presence", "fraction", "Share of the samples that have a modality.", _PROBE, higher_is_better=True),
    _live(
        "modality_drift",
        "fraction",
        "2 AUC - 1 of a linear classifier, cross-validated, that tells a modality's embeddings from the baseline's.",
        f"{_PROBE}; classifier two-sample test (Lopez-Paz and Oquab 2017), Fisher's discriminant as the classifier",
    ),
    _live(
        "descriptor_drift",
        "fraction",
        "Kolmogorov-Smirnov distance to the baseline of the simple descriptor of a modality that moved most.",
        _PROBE,
    ),
    _live(
        "device_utilisation",
        "fraction",
        "Busy share of the device that the model runs on: NVML on a GPU, else the service's CPU time over its cores.",
        f"NVML, or {_SERVICE}; the measurement's detail says which",
    ),
    _live(
        "memory_fragmentation",
        "fraction",
        "GPU: inactive split bytes over reserved bytes. CPU: free bytes over bytes of the C allocator's arenas.",
        f"{_SERVICE}; CUDA caching allocator, or mallinfo2 of glibc; the measurement's detail names the allocator",
    ),
    _live("memory_resident", "bytes", "Resident memory of the service's process.", _SERVICE),
    _live("queue_depth", "rows", "Requests that wait for a batch.", _SERVICE),
    _live(
        "cache_hit_rate",
        "fraction",
        "Hits over lookups of the feature cache since the measurement before.",
        _SERVICE,
        higher_is_better=True,
    ),
    _live("log_dropped", "rows", "Answers since the measurement before that could not be logged.", _SERVICE),
    _live("error_rate", "fraction", "Share of requests since the measurement before that ended with 5xx.", _SERVICE),
    _live("disk_used", "fraction", "Used share of the disk that the home is on.", "statvfs"),
    _live(
        "service_up",
        "fraction",
        "1 if the service answers, 0 if not.",
        "a request to its metrics",
        higher_is_better=True,
    ),
)

LIVE: dict[str, Measure] = {measure.name: measure for measure in _ALL}
"""What only live traffic and the machine have."""
KNOWN: dict[str, Measure] = MEASURES | LIVE
"""Everything that a rule may name."""
