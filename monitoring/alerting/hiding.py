"""Who need not be told: silences that a person set, and inhibition by another alert.

>>> is_silenced({"name": "latency high", "domain": "ru"}, [[{"label": "domain", "value": "ru"}]])
True
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from monitoring.alerting.rule import Inhibition

Labels = Mapping[str, Any]


def matches(labels: Labels, matcher: Mapping[str, Any]) -> bool:
    """Whether one matcher holds; a label that is missing is an empty text. A broken pattern matches nothing.

    >>> matches({"domain": "ru"}, {"label": "domain", "value": "r.", "is_regex": True})
    True
    >>> matches({"domain": "ru"}, {"label": "domain", "value": "ru", "is_equal": False})
    False
    """
    told = str(labels.get(matcher["label"], ""))
    wanted = str(matcher["value"])
    if matcher.get("is_regex", False):
        try:
            found = re.fullmatch(wanted, told) is not None
        except re.error:
            return False
    else:
        found = told == wanted
    return found is bool(matcher.get("is_equal", True))


def is_silenced(labels: Labels, silences: Sequence[Sequence[Mapping[str, Any]]]) -> bool:
    """Whether any silence, each a list of matchers, has all its matchers hold. One without matchers hides nothing."""
    return any(matchers and all(matches(labels, matcher) for matcher in matchers) for matchers in silences)


def is_inhibited(labels: Labels, firing: Sequence[Labels], inhibitions: Sequence[Inhibition]) -> bool:
    """Whether a firing alert hides this one. An alert that is source and target of a rule does not hide itself.

    >>> rule = Inhibition(source={"name": "service down"}, target={"metric": "latency_*"})
    >>> is_inhibited({"name": "slow", "metric": "latency_p95"}, [{"name": "service down"}], [rule])
    True
    """
    return any(
        _fits(labels, rule.target)
        and not _fits(labels, rule.source)
        and any(
            _fits(other, rule.source) and all(other.get(label) == labels.get(label) for label in rule.equal)
            for other in firing
        )
        for rule in inhibitions
    )


def _fits(labels: Labels, patterns: Mapping[str, str]) -> bool:
    return all(fnmatchcase(str(labels.get(label, "")), pattern) for label, pattern in patterns.items())
