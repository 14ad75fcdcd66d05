"""A rule: which number, against which bound, for how long, and what follows. Frozen values, checked when made.

>>> Bound(kind="relative", side="upper", limit=0.15).at(0.040)
0.046
>>> Bound(kind="relative", side="lower", limit=0.10).at(0.9)
0.81
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from monitoring.measures.live_catalogue import KNOWN

KINDS, SIDES = ("relative", "absolute"), ("upper", "lower")
SEVERITIES = ("info", "warning", "critical")
ACTIONS = ("none", "round", "rollback")
NO_DATA = ("wait", "alert")
SLICES = ("all", "domain", "task", "modalities", "modality", "pair")
OVER = ("window", "last", "mean", "max", "min")


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The last value that is still allowed."""

    kind: str
    """`relative`: a share of the baseline. `absolute`: in the unit of the metric."""
    side: str
    """`upper`: more is a breach. `lower`: less is a breach."""
    limit: float
    """Relative: the change allowed, as a positive fraction (0.15 for +15 % above, 0.10 for -10 % below)."""
    hysteresis: float = 0.0
    """How far inside the bound a value must come before a breach is over, in the terms of `limit`."""

    def __post_init__(self) -> None:
        _one_of("bound", self.kind, KINDS)
        _one_of("side", self.side, SIDES)
        if not isfinite(self.limit) or (self.kind == "relative" and not self.limit >= 0):
            raise ValueError(f"limit must be a number, and not below 0 where relative, got {self.limit}.")
        if not 0 <= self.hysteresis < float("inf"):
            raise ValueError(f"hysteresis must be 0 or more, got {self.hysteresis}.")

    def at(self, baseline: float | None, *, is_breached: bool = False) -> float | None:
        """The bound in the unit of the metric; None if it is relative and there is no baseline to hold it to.

        While a breach lasts the bound lies further inside, by the hysteresis.

        >>> Bound(kind="absolute", side="upper", limit=0.85, hysteresis=0.05).at(None, is_breached=True)
        0.8
        """
        outwards = 1 if self.side == "upper" else -1
        margin = -self.hysteresis if is_breached else 0.0
        if self.kind == "absolute":
            return round(self.limit + outwards * margin, 12)
        if baseline is None or not isfinite(baseline):
            return None
        return round(baseline + outwards * (self.limit + margin) * abs(baseline), 12)

    def is_beyond(self, value: float, bound: float) -> bool:
        """Whether the value breaches; exactly at the bound does not."""
        return value > bound if self.side == "upper" else value < bound


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule. A rule by domain is held to each domain apart."""

    name: str
    metric: str
    """Name in the catalogue of measures."""
    bound: Bound
    by: str = "all"
    """Kind of slice: `all`, `domain`, `task`, `modalities`, `modality` or `pair`."""
    window_s: float = 900.0
    """Seconds of traffic, or of measurements, that one value rests on."""
    over: str = "window"
    """`window`: the value measured over the window. Else the `last`, `mean`, `max` or `min` of those in the window."""
    for_s: float = 120.0
    """Seconds that the breach must last before it fires."""
    keep_firing_s: float = 0.0
    """Seconds that it keeps firing after the breach has ended, so that a value at the bound does not flap."""
    min_samples: int = 100
    """Samples below which the value is not judged: no data, never ok."""
    confidence: float = 0.99
    """How sure it must be that the bound is passed, by the spreads of value and baseline; 0: the bare value counts."""
    severity: str = "warning"
    receivers: tuple[str, ...] | None = None
    """Who is told; None: every receiver that there is; empty: nobody, it is shown only."""
    action: str = "none"
    """`round` requests a round; `rollback` requests that a version on probation is taken back."""
    no_data: str = "wait"
    """`wait`: no data is a state and nothing more. `alert`: it fires too, after `for_s`."""
    summary: str = ""
    mend: str = ""
    """What to do."""
    page: str = "omniloop rules list"
    """Where to look: the address of a page, or a command."""

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > 80 or not self.name.isprintable():
            raise ValueError(f"name must be 1 to 80 printable characters, got {self.name!r}.")
        if self.metric not in KNOWN:
            raise ValueError(f"metric {self.metric!r} is not measured. Use one of {', '.join(sorted(KNOWN))}.")
        for key, allowed in (("by", SLICES), ("over", OVER), ("severity", SEVERITIES), ("action", ACTIONS)):
            _one_of(key, getattr(self, key), allowed)
        _one_of("no_data", self.no_data, NO_DATA)
        if not 0 < self.window_s < float("inf"):
            raise ValueError(f"window must be above 0, got {self.window_s} s.")
        for key in ("for_s", "keep_firing_s", "min_samples"):
            if not 0 <= getattr(self, key) < float("inf"):
                raise ValueError(f"{key.removesuffix('_s')} must be 0 or more, got {getattr(self, key)}.")
        if not (self.confidence == 0 or 0.5 < self.confidence < 1):
            raise ValueError(f"confidence must be 0 or lie in (0.5, 1), got {self.confidence}. For 99 % give 0.99.")


@dataclass(frozen=True, kw_only=True)
class Inhibition:
    """While an alert that matches `source` fires, nobody is told of one that matches `target`."""

    source: Mapping[str, str]
    """Label to pattern: `*` stands for anything, as in `latency_*`."""
    target: Mapping[str, str]
    equal: tuple[str, ...] = ()
    """Labels that both must have alike."""

    def __post_init__(self) -> None:
        if not self.source or not self.target:
            raise ValueError("an inhibition needs a source and a target, each with one label at least.")


@dataclass(frozen=True, kw_only=True)
class Routing:
    """How alerts are told together, and how often. The defaults are those of Prometheus Alertmanager."""

    group_by: tuple[str, ...] = ("name",)
    """Alerts that agree in these labels are one notice."""
    group_wait_s: float = 30.0
    """Before the first notice of a group: others may join it."""
    group_interval_s: float = 300.0
    """Before the next notice of a group that has changed."""
    repeat_interval_s: float = 14400.0
    """Before a notice is repeated of a group that has not."""

    def __post_init__(self) -> None:
        for key in ("group_wait_s", "group_interval_s", "repeat_interval_s"):
            if not 0 <= getattr(self, key) < float("inf"):
                raise ValueError(f"{key.removesuffix('_s')} must be 0 or more, got {getattr(self, key)}.")


@dataclass(frozen=True, kw_only=True)
class RuleSet:
    """A file of rules."""

    rules: tuple[Rule, ...]
    inhibitions: tuple[Inhibition, ...] = ()
    routing: Routing = field(default_factory=Routing)

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.rules]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two rules are called {', '.join(map(repr, twice))}. Give each a name of its own.")


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{key} must be one of {', '.join(allowed)}, got {value!r}.")
