"""Matchers of labels, written as Alertmanager writes them: `name=latency`, `severity!=info`, `task=~dig.*`, `task!~x`.

An alert matches a silence when it matches every one of its matchers. A label that is not there counts as empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

WRITTEN = re.compile(r"\s*(?P<label>[A-Za-z_][A-Za-z0-9_.]*)\s*(?P<sign>=~|!~|!=|=)\s*(?P<value>.*)", re.DOTALL)
LONGEST = 200
"""Characters of a value: an expression that is longer is a mistake."""


def parse(text: str) -> dict[str, Any]:
    """A matcher as it is stored; `ValueError` for one that cannot be read.

    >>> parse('task=~"dig.*"')
    {'label': 'task', 'value': 'dig.*', 'is_regex': True, 'is_equal': True}
    """
    found = WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no matcher. Write one like name=latency, severity!=info or task=~dig.*")
    label, sign, value = found["label"], found["sign"], found["value"].strip()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if len(value) > LONGEST:
        raise ValueError(f"The value of a matcher has {len(value)} characters; {LONGEST} are allowed.")
    if "~" in sign:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is no regular expression: {error}. Mend the matcher {text!r}.") from error
    return {"label": label, "value": value, "is_regex": "~" in sign, "is_equal": "!" not in sign}


def written(matcher: Mapping[str, Any]) -> str:
    """A matcher as a person writes it.

    >>> written(parse("severity != info"))
    'severity!=info'
    """
    sign = ("=" if matcher["is_equal"] else "!") + ("~" if matcher["is_regex"] else "" if matcher["is_equal"] else "=")
    return f"{matcher['label']}{sign}{matcher['value']}"


def matches(matchers: Sequence[Mapping[str, Any]], labels: Mapping[str, Any]) -> bool:
    """Whether labels match every matcher; expressions must match the whole value. No matcher matches nothing.

    >>> matches([parse("task=~dig.*"), parse("version!=3")], {"task": "digit", "version": 4})
    True
    >>> matches([], {"task": "digit"})
    False
    """
    return bool(matchers) and all(_holds(matcher, labels) for matcher in matchers)


def _holds(matcher: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    value, wanted = str(labels.get(matcher["label"], "")), str(matcher["value"])
    is_same = re.fullmatch(wanted, value, re.DOTALL) is not None if matcher["is_regex"] else value == wanted
    return is_same == bool(matcher["is_equal"])
