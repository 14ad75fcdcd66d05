"""Numbers over time: each measure as a chart with its baseline, its limits, and what happened meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from dashboards.pages import Page
from dashboards.site import Visit
from dashboards.stretch import KINDS, RANGES, Stretch
from dashboards.vitals import rules_in_force
from db.repository import series
from monitoring.alerting.rule import Rule
from monitoring.measures.live_catalogue import KNOWN
from monitoring.vitals import TITLES

GROUPS: dict[str, tuple[str, ...]] = {
    "Performance": (
        "latency_p95",
        "latency_p50",
        "latency_p99",
        "alignment_error",
        "num_predictions",
        "queue_depth",
        "error_rate",
        "service_up",
    ),
    "Quality": ("accuracy", "instruction_following", "modality_balance", "confidence", "uncertainty", "ece"),
    "Data drift": ("modality_drift", "descriptor_drift", "modality_presence"),
    "Resources": (
        "device_utilisation",
        "memory_fragmentation",
        "memory_resident",
        "cache_hit_rate",
        "log_dropped",
        "disk_used",
    ),
}
OTHERS = "Other measures"
WORDS = {
    "all": "everything together",
    "domain": "domain",
    "task": "task",
    "modalities": "modalities asked with",
    "modality": "modality",
    "pair": "pair of modalities",
    "version": "version",
}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One chart."""

    metric: str
    title: str
    unit: str
    definition: str
    source: str
    by: str
    """What its lines are by."""
    src: str
    """Where its numbers are, as JSON."""
    rules: tuple[str, ...]
    """Names of the rules that hold it to a limit."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Charts that belong together."""

    title: str
    charts: list[Shown]


@dataclass(frozen=True, kw_only=True)
class Monitoring:
    """The page."""

    asked: Stretch
    since: datetime
    until: datetime
    groups: list[Group]
    not_measured: list[str]
    """Measures that have no number by what was asked for."""
    slices: list[str]
    """What `only` may be."""
    kinds: dict[str, str]
    ranges: list[str]
    rules_fault: str
    is_traffic_shown: bool
    query: str
    """The choice, for the addresses of numbers."""


def monitoring(visit: Visit, asked: Stretch) -> Monitoring:
    """Which charts there are for what was asked; their numbers are fetched by themselves."""
    since, until = asked.ends(visit.now)
    known: dict[str, set[str]] = {}
    for metric, slice_ in series.measured(visit.session):
        known.setdefault(metric, set()).add(slice_)
    rules, fault = _rules(visit)
    groups, missing = _groups(known, asked, rules)
    return Monitoring(
        asked=asked,
        since=since,
        until=until,
        groups=groups,
        not_measured=missing,
        slices=_slices(known, asked.by),
        kinds={kind: WORDS[kind] for kind in KINDS},
        ranges=list(RANGES),
        rules_fault=fault,
        is_traffic_shown=asked.by in ("all", "version", "modalities"),
        query=_query(asked),
    )


def _groups(known: dict[str, set[str]], asked: Stretch, rules: Sequence[Rule]) -> tuple[list[Group], list[str]]:
    listed = {metric for metrics in GROUPS.values() for metric in metrics}
    others = tuple(sorted(metric for metric in known if metric not in listed))
    groups, missing = [], []
    for title, metrics in (GROUPS | {OTHERS: others}).items():
        charts = []
        for metric in metrics:
            by = _by(known.get(metric, set()), asked)
            if by is None:
                missing.append(_title(metric))
            else:
                charts.append(_shown(metric, by, asked, rules))
        if charts:
            groups.append(Group(title=title, charts=charts))
    return groups, missing


def _by(slices: set[str], asked: Stretch) -> str | None:
    """What the lines of a metric are by: as asked; one that is measured by modality alone is so shown by default."""
    kinds = {slice_.partition("=")[0] for slice_ in slices}
    if asked.by == "version":
        return "version" if "all" in kinds else None
    if asked.by in kinds:
        return asked.by if not asked.only or f"{asked.by}={asked.only}" in slices else None
    if asked.by == "all" and kinds:
        return next(kind for kind in (*KINDS, *sorted(kinds)) if kind in kinds) if kinds & set(KINDS) else None
    return None


def _shown(metric: str, by: str, asked: Stretch, rules: Sequence[Rule]) -> Shown:
    measure = KNOWN.get(metric)
    query = _query(asked, metric=metric, by=by)
    return Shown(
        metric=metric,
        title=_title(metric) + ("" if by == "all" else f" by {WORDS[by]}"),
        unit=measure.unit if measure else "",
        definition=measure.definition if measure else "Measured by a version of the program that knew it.",
        source=measure.source if measure else "",
        by=by,
        src=f"/monitoring/series.json?{query}",
        rules=tuple(rule.name for rule in rules if rule.metric == metric),
    )


def _query(asked: Stretch, **more: str) -> str:
    """What was asked for, as a query that holds no more than it must."""
    chosen: dict[str, object] = {"range": asked.range, "by": asked.by, "only": asked.only, "version": asked.version}
    chosen |= {name: at.isoformat() for name, at in (("from", asked.start), ("to", asked.end)) if at is not None}
    return urlencode({name: value for name, value in (chosen | more).items() if value not in ("", None)})


def _slices(known: dict[str, set[str]], kind: str) -> list[str]:
    if kind in ("all", "version"):
        return []
    found = {slice_ for slices in known.values() for slice_ in slices if slice_.startswith(f"{kind}=")}
    return sorted(slice_.partition("=")[2] for slice_ in found if not slice_.endswith("="))


def _title(metric: str) -> str:
    return TITLES.get(metric) or metric.replace("_", " ").capitalize()


def _rules(visit: Visit) -> tuple[Sequence[Rule], str]:
    try:
        return rules_in_force(visit.site).rules, ""
    except ValueError as error:
        return (), str(error)


PARTS = (Page(path="/monitoring", title="Monitoring", template="monitoring.html", build=monitoring, asks=Stretch),)
