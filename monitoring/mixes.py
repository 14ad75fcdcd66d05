"""Mixes of categories: what is new in one, and how far two lie apart, as findings on a window of predictions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from monitoring.config import TriggerConfig
from monitoring.triggers import ASK, NOT_ENOUGH, QUIET, Finding

NAN = float("nan")
MOST_CATEGORIES = 50
"""Categories that a mix keeps apart; a log in which every row has a domain of its own must not grow without end."""
REST = "(rest)"
Mix = Mapping[str, int]
"""Rows by category."""


def new_categories(
    of: str, now: Sequence[str], known: Sequence[str] | None, config: TriggerConfig, alpha: float
) -> Finding:
    """Is more than `max_new_share` of the rows of a category that fewer than `known_rows` validation samples had?"""
    name = f"new {of}"
    if known is None or len(now) < config.min_rows:
        return too_little(name, len(now), "validation predictions" if known is None else "predictions")
    rows_known = count(known)
    new = count([category for category in now if rows_known.get(category, 0) < config.known_rows])
    num_new = sum(new.values())
    share, p_value = num_new / len(now), float(stats.binom.sf(num_new - 1, len(now), config.max_new_share))
    listed = ", ".join(category or "(unnamed)" for category in list(new)[:5]) or "none"
    asks = p_value <= alpha
    sentence = (
        f"{share:.0%} of {len(now):,} predictions are of {of} that validation hardly knew ({listed}), "
        f"{'more than' if asks else 'not clearly more than'} {config.max_new_share:.0%} (p {p_value:.2g})."
    )
    return Finding(
        name=name,
        verdict=ASK if asks else QUIET,
        sentence=sentence,
        value=share,
        p_value=p_value,
        num_rows=len(now),
    )


def mix_shift(of: str, now: Mix, before: Mix, config: TriggerConfig, alpha: float) -> Finding:
    """Is the mix of categories another than before (chi-square test of homogeneity, rare categories taken together)?"""
    now = folded(now, before) if REST in before else now
    name, num_now, num_before = f"mix of {of}", sum(now.values()), sum(before.values())
    if min(num_now, num_before) < config.min_rows:
        return too_little(name, min(num_now, num_before), "predictions, now or before")
    table = _table(now, before)
    p_value = float(stats.chi2_contingency(table, correction=False).pvalue) if table.shape[1] > 1 else 1.0
    shift = total_variation(now, before)
    asks = p_value <= alpha and shift >= config.min_mix_shift
    sentence = (
        f"The mix of {of} in {num_now:,} predictions is {shift:.0%} away from that of the {num_before:,} before, "
        f"{'beyond' if asks else 'not clearly beyond'} {config.min_mix_shift:.0%} (p {p_value:.2g})."
    )
    return Finding(
        name=name,
        verdict=ASK if asks else QUIET,
        sentence=sentence,
        value=shift,
        p_value=p_value,
        num_rows=num_now,
    )


def total_variation(one: Mix, other: Mix) -> float:
    """Half the sum of the differences of shares, in [0, 1]; nan if either is empty.

    >>> total_variation({"en": 50, "es": 50}, {"en": 80, "fr": 20})
    0.5
    """
    num_one, num_other = sum(one.values()), sum(other.values())
    if not num_one or not num_other:
        return NAN
    names = sorted({*one, *other})
    return sum(abs(one.get(name, 0) / num_one - other.get(name, 0) / num_other) for name in names) / 2


def count(categories: Sequence[str]) -> dict[str, int]:
    """Rows by category, the most frequent first.

    >>> count(["es", "en", "es"])
    {'es': 2, 'en': 1}
    """
    return dict(sorted(Counter(categories).items(), key=lambda entry: (-entry[1], entry[0])))


def added(one: Mix, other: Mix) -> dict[str, int]:
    """Both mixes together; what is beyond the most frequent `MOST_CATEGORIES` is one category, so that it stays small.

    >>> added({"en": 2}, {"en": 1, "es": 5})
    {'es': 5, 'en': 3}
    """
    both = Counter(dict(one)) + Counter(dict(other))
    ranked = sorted(both.items(), key=lambda entry: (entry[0] == REST, -entry[1], entry[0]))
    num_rest = sum(rows for name, rows in ranked[MOST_CATEGORIES:] if name != REST) + both[REST]
    return {name: rows for name, rows in ranked[:MOST_CATEGORIES] if name != REST} | (
        {REST: num_rest} if num_rest else {}
    )


def folded(mix: Mix, kept: Mix) -> dict[str, int]:
    """The mix with everything that `kept` does not name as one category.

    >>> folded({"en": 2, "es": 3, "fr": 1}, {"en": 9, "(rest)": 4})
    {'en': 2, '(rest)': 4}
    """
    same = {name: rows for name, rows in mix.items() if name in kept and name != REST}
    num_rest = sum(mix.values()) - sum(same.values())
    return same | ({REST: num_rest} if num_rest else {})


def too_little(name: str, num_rows: int, what: str) -> Finding:
    """The finding that there is nothing to find anything in."""
    return Finding(
        name=name,
        verdict=NOT_ENOUGH,
        sentence=f"Too few {what} to judge {name}.",
        value=NAN,
        p_value=NAN,
        num_rows=num_rows,
    )


def _table(now: Mix, before: Mix) -> NDArray[np.float64]:
    """2 × C counts in which every column can expect at least five rows in the smaller of the two."""
    names = sorted({*now, *before})
    table = np.array([[now.get(name, 0) for name in names], [before.get(name, 0) for name in names]], dtype=np.float64)
    expected = table.sum(axis=0) * table.sum(axis=1).min() / table.sum()
    is_rare = expected < 5
    rare = table[:, is_rare].sum(axis=1, keepdims=True)
    kept = table[:, ~is_rare]
    return np.hstack([kept, rare]) if rare.any() else kept
