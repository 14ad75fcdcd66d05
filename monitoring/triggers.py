"""Is it time for a round? New labels, drift of the traffic, and a fall of accuracy are judged here, nothing is done.

A judgement is repeated for as long as a version is in service, so each look is allowed only a part of the false alarms:
look k of `max_false_alarm / (k (k + 1))`, which add up to `max_false_alarm` however many looks there are. Every look is
at rows that no earlier look has seen. What is missing or nan is never taken for good news.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite, sqrt

from monitoring.config import TriggerConfig
from monitoring.measures.instructions import wilson_interval

ASK, QUIET, NOT_ENOUGH, NOT_MEASURED = "ask", "quiet", "not enough data", "not measured"
HELD, OFF = "held", "off"
NEW_LABELS, DRIFT, PERFORMANCE = "new_labels", "drift", "performance"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    verdict: str
    """`ask`, `quiet`, `not enough data`, `not measured`."""
    sentence: str
    value: float
    """Size of the effect; nan where there is none."""
    p_value: float
    """nan where nothing was tested."""
    num_rows: int


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Whether one kind of trigger asks for a round."""

    kind: str
    """`new_labels`, `drift` or `performance`."""
    verdict: str
    """`ask`: a round is wanted. `quiet`: measured, and nothing found. `not enough data`, `not measured` (a number is
    missing or nan), `held`: it asked lately and may not yet ask again, `off`."""
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    """What a judgement on drift rests on."""

    @property
    def asks(self) -> bool:
        """Whether a round is wanted."""
        return self.verdict == ASK


def rows_of_look(look: int, first_rows: int, most_rows: int) -> int:
    """New rows that look number `look` waits for.

    >>> [rows_of_look(look, 100, 1000) for look in (1, 2, 3, 4, 5, 6, 900)]
    [100, 200, 400, 800, 1000, 1000, 1000]
    """
    return min(first_rows << min(look - 1, 40), most_rows)


def alpha_of_look(look: int, max_false_alarm: float) -> float:
    """The part of the false alarms that look number `look` may have; the parts of all looks add up to the whole.

    >>> alpha_of_look(1, 0.05), round(sum(alpha_of_look(look, 0.05) for look in range(1, 10_000)), 5)
    (0.025, 0.05)
    """
    return max_false_alarm / (look * (look + 1))


def judge_new_labels(num_new: int, threshold: int) -> Judgement:
    """Are there enough newly labelled training samples? A threshold of 0 switches the trigger off.

    >>> judge_new_labels(200, 200).asks
    True
    """
    numbers = {"num_new": float(num_new), "threshold": float(threshold)}
    if threshold == 0:
        return Judgement(kind=NEW_LABELS, verdict=OFF, sentence="New labels ask for no round.", numbers=numbers)
    found = f"{num_new:,} training samples were labelled since the last round"
    verdict, tail = (
        (ASK, f"at least the {threshold:,} wanted") if num_new >= threshold else (QUIET, f"of {threshold:,}")
    )
    return Judgement(kind=NEW_LABELS, verdict=verdict, sentence=f"{found}, {tail}.", numbers=numbers)


def upper_ratio(
    num_right: int, num_rows: int, baseline_right: int, baseline_rows: int, alpha: float
) -> tuple[float, float]:
    """(ratio of two shares, bound that it lies below with confidence `1 - alpha`).

    MOVER-R (Donner & Zou 2012, Stat Methods Med Res 21:347) on Wilson's limits, which hold near 0 and 1, too.
    A baseline without a hit gives (nan, inf); (nan, nan) for no rows.

    >>> [round(value, 3) for value in upper_ratio(160, 200, 270, 300, 0.05)]
    [0.889, 0.947]
    """
    if not num_rows or not baseline_rows:
        return float("nan"), float("nan")
    if not baseline_right:
        return float("nan"), inf
    share, base = num_right / num_rows, baseline_right / baseline_rows
    high = wilson_interval(num_right, num_rows, 1 - 2 * alpha)[1]
    low = wilson_interval(baseline_right, baseline_rows, 1 - 2 * alpha)[0]
    spread = low * (2 * base - low)
    if spread <= 0:
        return share / base, inf
    root = (share * base) ** 2 - high * (2 * share - high) * spread
    return share / base, (share * base + sqrt(max(root, 0.0))) / spread


def judge_performance(
    num_right: int,
    num_rows: int,
    baseline: tuple[int, int] | None,
    config: TriggerConfig,
    *,
    look: int = 1,
) -> Judgement:
    """Has accuracy on live feedback fallen by more than `max_relative_fall` below that at validation?

    `baseline` is (right, rows) at validation; None if the version was never measured. A fall is established if the
    one-sided bound of the ratio of the two accuracies lies below what is allowed. Both samples count as independent.
    """
    if config.feedback_first_rows == 0:
        return Judgement(kind=PERFORMANCE, verdict=OFF, sentence="Performance asks for no round.")
    if baseline is None:
        return Judgement(
            kind=PERFORMANCE,
            verdict=NOT_MEASURED,
            sentence="The accuracy of this version at validation is not known, so a fall cannot be told. "
            "Let a round validate the next version.",
        )
    alpha = alpha_of_look(look, config.max_false_alarm)
    ratio, bound = upper_ratio(num_right, num_rows, *baseline, alpha)
    numbers = {
        "num_right": num_right,
        "num_rows": num_rows,
        "baseline_right": baseline[0],
        "baseline_rows": baseline[1],
        "relative_change": ratio - 1,
        "highest_relative_change": bound - 1,
        "alpha": alpha,
        "look": look,
    }
    finite = {name: float(value) for name, value in numbers.items() if isfinite(value)}
    verdict, sentence = _performance(num_right, num_rows, baseline, ratio, bound, config)
    return Judgement(kind=PERFORMANCE, verdict=verdict, sentence=sentence, numbers=finite)


def _performance(
    num_right: int, num_rows: int, baseline: tuple[int, int], ratio: float, bound: float, config: TriggerConfig
) -> tuple[str, str]:
    right, rows = baseline
    if num_rows < config.min_rows or rows < config.min_rows:
        return NOT_ENOUGH, (
            f"{num_rows:,} predictions with feedback and {rows:,} validation samples are too few to tell a fall; "
            f"{config.min_rows} of each are the least."
        )
    figures = (
        f"accuracy is {num_right / num_rows:.3f} on {num_rows:,} predictions with feedback and was {right / rows:.3f} "
        f"on {rows:,} validation samples"
    )
    limit = f"{-config.max_relative_fall:+.1%}"
    if not isfinite(ratio):
        return QUIET, f"{figures}: it cannot fall."
    if bound < 1 - config.max_relative_fall:
        return ASK, f"{figures}, a relative change of {ratio - 1:+.1%}: a fall beyond {limit} is established."
    shown = f"at most {bound - 1:+.1%}" if isfinite(bound) else "without a bound"
    return QUIET, (
        f"{figures}, a relative change of {ratio - 1:+.1%} ({shown}): a fall beyond {limit} is not established."
    )
