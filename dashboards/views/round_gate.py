"""The gate's evidence on a round as a person reads it, and the same evidence judged under other limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from dashboards.evidence import read_comparisons
from dashboards.site import Site
from db.records import Round
from monitoring.comparison import Comparison
from monitoring.config import GateConfig
from monitoring.gate import judge

WIDTH = 240.0
"""Of the plot of one interval, in its own units."""
MOST_LIMITS = 12.0
"""How many times the limit a plot reaches from its middle at most, so that the limit can be told from no change."""
ROLES = {"primary": "decides", "guarded": "guarded", "watched": "watched", "slice": "part of the samples"}
FINDINGS = {
    "safe": "ok",
    "harm": "reject",
    "small fall": "warning",
    "suspect": "warning",
    "unclear": "inconclusive",
    "not enough data": "no_data",
    "not measured": "no_data",
}
"""A finding as a state of the pages."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Places on a line with no change in its middle; what lies beyond an end is at the end."""

    low: float
    high: float
    change: float
    limit: float
    zero: float = WIDTH / 2
    is_cut: bool = False
    """The interval goes on beyond an end."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One comparison: both figures, the change with its interval, the limit, and what follows."""

    metric: str
    slice: str
    role: str
    role_words: str
    finding: str
    state: str
    sentence: str
    num_samples: int
    old: float | None
    new: float | None
    plot: Plot | None
    """None where there is no interval."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A verdict under some limits, with the evidence as it was seen under them."""

    decision: str
    reasons: list[str]
    max_relative_fall: float
    confidence: float
    rows: list[Evidence]
    """What was held to a limit, the decisive first."""
    num_reported: int
    """Comparisons that no limit holds for."""


def config_of(stored: Mapping[str, Any]) -> GateConfig:
    """The limits as they were written down; what this version does not know of them is left out.

    >>> config_of({"max_relative_fall": 0.02, "an_old_name": 1}).max_relative_fall
    0.02
    """
    known = {each.name for each in fields(GateConfig)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }
    return GateConfig(**{name: value for name, value in values.items() if name in known})


def limits_of(site: Site, round_: Round) -> GateConfig:
    """The limits that were in force when the round opened; today's for a round that did not write them down."""
    return config_of(round_.config.get("gate") or site.wiring.gate)


def comparisons_of(site: Site, round_: Round) -> list[Comparison]:
    """The stored comparisons, none for a round that compared nothing. `ValueError` in words if they are lost."""
    validated = round_.outputs.get("validated", {})
    return read_comparisons(site, validated["comparisons"]) if validated.get("comparisons") else []


def judged(comparisons: list[Comparison], config: GateConfig) -> Judged:
    """What the gate says of these under the limits, as of the day when they were measured."""
    made = comparisons[0].provenance
    verdict = judge(comparisons, config, now=made.measured_at, serving_version=made.old_version)
    told = verdict.summary(config.confidence)
    held = [row for row in told["rows"] if row["role"] != "reported"]
    order = list(ROLES)
    return Judged(
        decision=verdict.decision,
        reasons=verdict.reasons[:20],
        max_relative_fall=config.max_relative_fall,
        confidence=config.confidence,
        rows=sorted((evidence(row) for row in held), key=lambda row: order.index(row.role)),
        num_reported=len(told["rows"]) - len(held),
    )


def replayed(comparisons: list[Comparison], config: GateConfig, fall: float | None, confidence: float | None) -> Judged:
    """The verdict with another limit, another confidence, or both. Nothing is moved by it."""
    other = replace(
        config,
        max_relative_fall=config.max_relative_fall if fall is None else fall,
        confidence=config.confidence if confidence is None else confidence,
    )
    return judged(comparisons, other)


def evidence(row: Mapping[str, Any]) -> Evidence:
    """A row of the gate's summary as the page shows it."""
    return Evidence(
        metric=row["metric"],
        slice=row["slice"],
        role=row["role"],
        role_words=ROLES[row["role"]],
        finding=row["finding"],
        state=FINDINGS.get(row["finding"], "info"),
        sentence=row["sentence"],
        num_samples=row["num_samples"],
        old=row["old"],
        new=row["new"],
        plot=plot(row["change"], row["low"], row["high"], row["limit"]),
    )


def plot(change: float | None, low: float | None, high: float | None, limit: float | None) -> Plot | None:
    """Where to draw an interval: the ends of the line are twice the limit away, and further for a wide interval.

    >>> plot(0.0, -0.05, 0.05, -0.05)
    Plot(low=60.0, high=180.0, change=120.0, limit=60.0, zero=120.0, is_cut=False)
    >>> plot(-0.2, -0.3, None, -0.05).is_cut, plot(None, None, None, -0.05)
    (True, None)
    """
    if change is None or not limit:
        return None
    furthest = max(abs(value) for value in (change, low or 0.0, high or 0.0))
    reach = min(max(2 * abs(limit), 1.1 * furthest), MOST_LIMITS * abs(limit))

    def place(value: float) -> float:
        return round(WIDTH / 2 * (1 + min(1.0, max(-1.0, value / reach))), 1)

    return Plot(
        low=place(-reach if low is None else low),
        high=place(reach if high is None else high),
        change=place(change),
        limit=place(limit),
        is_cut=low is None or high is None or max(abs(low), abs(high)) > reach,
    )
