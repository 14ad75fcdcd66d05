"""How people say for how long something is silenced, and what a silence looks at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST = timedelta(days=30)


def duration(text: str) -> timedelta:
    """A time such as 90s, 30m, 2h or 1d; `ValueError` otherwise, and above thirty days.

    >>> duration("2h")
    datetime.timedelta(seconds=7200)
    """
    found = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no duration. Write it like 30m, 2h or 1d.")
    length = timedelta(seconds=int(found[1]) * UNITS[found[2]])
    if length > LONGEST:
        raise ValueError(f"{text} is longer than {LONGEST.days} days. Silence for less, or change the rule.")
    return length


def labels_of(name: str, severity: str, labels: Mapping[str, Any]) -> dict[str, Any]:
    """What matchers look at: an alert's labels, with its name and severity.

    >>> labels_of("slow", "warning", {"domain": "en"})
    {'domain': 'en', 'name': 'slow', 'severity': 'warning'}
    """
    return {**labels, "name": name, "severity": severity}
