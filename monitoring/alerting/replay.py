"""Rules over what was recorded: which rows a rule would have been held to, slice by slice, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from monitoring.alerting.backtest import Backtest, backtest
from monitoring.alerting.evaluating import Reading
from monitoring.alerting.machine import Policy
from monitoring.alerting.rule import Rule
from monitoring.alerting.rules_config import AlertingConfig
from monitoring.measures.window import OF_FEEDBACK, OF_LOG


class Recorded(Protocol):
    """A measurement that was written down."""

    @property
    def slice(self) -> str:
        """`all`, or a kind and a value such as `domain=ru`."""

    @property
    def value(self) -> float | None:
        """None: it could not be measured."""

    @property
    def num_samples(self) -> int:
        """Samples that it rests on."""

    @property
    def detail(self) -> Mapping[str, Any]:
        """With its `spread` and its `window_s`, where it has them."""

    @property
    def at(self) -> datetime:
        """When it was measured."""


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """A rule on one slice of the record."""

    rule: Rule
    slice: str
    result: Backtest
    windows_s: tuple[float, ...] = ()
    """Windows that were recorded where that of the rule was not: the nearest of them was taken."""


def replay(
    rules: Sequence[Rule],
    rows: Mapping[str, Sequence[Recorded]],
    baseline: Callable[[str, str], Reading | None],
    config: AlertingConfig,
) -> list[Replayed]:
    """Each rule on each slice of the rows of its metric, oldest first. `baseline` takes a metric and a slice."""
    found = []
    for rule in rules:
        usable, other = of_window(rule, rows.get(rule.metric, ()))
        by_slice: dict[str, list[tuple[datetime, Reading]]] = {}
        for row in usable:
            if row.slice.partition("=")[0] == rule.by:
                reading = Reading(value=row.value, num_samples=row.num_samples, spread=row.detail.get("spread"))
                by_slice.setdefault(row.slice, []).append((row.at, reading))
        for slice_, record in sorted(by_slice.items()):
            result = backtest(rule, record, baseline(rule.metric, slice_), policy_of(rule, config))
            found.append(Replayed(rule=rule, slice=slice_, result=result, windows_s=other))
    return found


def policy_of(rule: Rule, config: AlertingConfig) -> Policy:
    """How patient the machine is with a rule."""
    return Policy(
        for_s=rule.for_s,
        keep_firing_s=rule.keep_firing_s,
        max_gap_s=config.max_gap_s,
        forget_s=config.forget_s,
        alerts_without_data=rule.no_data == "alert",
    )


def of_window(rule: Rule, rows: Sequence[Recorded]) -> tuple[Sequence[Recorded], tuple[float, ...]]:
    """The rows of the rule's window; if none was recorded, those of the nearest window, which is told."""
    if rule.metric not in (*OF_LOG, *OF_FEEDBACK):
        return rows, ()
    windows = sorted({float(row.detail["window_s"]) for row in rows if "window_s" in row.detail})
    if not windows:
        return [], ()
    nearest = min(windows, key=lambda window_s: abs(window_s - rule.window_s))
    told = () if nearest == rule.window_s else (nearest,)
    return [row for row in rows if row.detail.get("window_s") == nearest], told
