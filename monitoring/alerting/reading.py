"""Rules from YAML: every key is known, every duration has a unit, and a fault is told with the rule that has it.

>>> duration("90s"), duration("1h30m"), duration(45)
(90.0, 5400.0, 45.0)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import resources
from typing import Any, TypeVar

import yaml

from monitoring.alerting.rule import Bound, Inhibition, Routing, Rule, RuleSet

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
BOUND = {"bound": "kind", "side": "side", "limit": "limit", "hysteresis": "hysteresis"}
DURATIONS = {"window": "window_s", "for": "for_s", "keep_firing_for": "keep_firing_s"}
PLAIN = ("name", "metric", "by", "over", "severity", "action", "no_data", "summary", "mend", "page")
NUMBERS = ("min_samples", "confidence")
ROUTING = {name: f"{name}_s" for name in ("group_wait", "group_interval", "repeat_interval")}
MOST_RULES = 500
T = TypeVar("T")


class RulesError(ValueError):
    """A file of rules that cannot be used: where, what, and how to mend it. `faults` has one line each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


def default_text() -> str:
    """The rules that come with the program, as YAML: the article's table and the watch over the watcher."""
    return resources.files("monitoring.alerting").joinpath("default.yaml").read_text(encoding="utf-8")


def parse_rules(text: str, *, receivers: Sequence[str] | None = None) -> RuleSet:
    """The rules of a YAML text. With `receivers` given, a rule that names another one is refused.

    Raises `RulesError` with every fault at once.
    """
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RulesError([f"This is no YAML: {' '.join(str(error).split())}"]) from error
    if not isinstance(raw, dict) or not isinstance(raw.get("rules"), list):
        raise RulesError(["The file must be a mapping with a list under `rules`. See docs/monitoring.md."])
    faults = [f"There is no key {key!r}." for key in raw if key not in ("version", "routing", "rules", "inhibit")]
    if raw.get("version", 1) != 1:
        faults.append(f"version must be 1, got {raw['version']!r}.")
    if len(raw["rules"]) > MOST_RULES:
        raise RulesError([f"There are {len(raw['rules'])} rules; {MOST_RULES} is the most. Use `by` for slices."])
    rules = [
        _try(faults, f"rule {_called(entry, at)}", partial(_rule, entry)) for at, entry in enumerate(raw["rules"], 1)
    ]
    inhibitions = [
        _try(faults, f"inhibit {at}", partial(_inhibition, entry))
        for at, entry in enumerate(raw.get("inhibit") or [], 1)
    ]
    routing = _try(faults, "routing", partial(_routing, raw.get("routing") or {}))
    made = [rule for rule in rules if rule is not None]
    faults += _strangers(made, receivers)
    if routing is not None and not faults:
        kept = tuple(entry for entry in inhibitions if entry is not None)
        found = _try(faults, "rules", lambda: RuleSet(rules=tuple(made), inhibitions=kept, routing=routing))
        if found is not None:
            return found
    raise RulesError(faults)


def duration(value: object) -> float:
    """Seconds of `15m`, `1h30m`, `90s` or a bare number of seconds. Raises `ValueError` for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    parts = _PART.findall(value) if isinstance(value, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError(f"a duration is written like 30s, 15m or 4h, got {value!r}.")
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def _rule(raw: Any) -> Rule:
    _known(raw, {*BOUND, *DURATIONS, *PLAIN, *NUMBERS, "receivers"})
    for key in ("name", "metric", "bound", "side", "limit"):
        if key not in raw:
            raise ValueError(f"{key} is missing.")
    values: dict[str, Any] = {key: _text(key, raw[key]) for key in PLAIN if key in raw}
    values |= {field: duration(raw[key]) for key, field in DURATIONS.items() if key in raw}
    values |= {key: _number(key, raw[key]) for key in NUMBERS if key in raw}
    if "receivers" in raw:
        values["receivers"] = _texts("receivers", raw["receivers"])
    bound: dict[str, Any] = {
        field: (_text if key in ("bound", "side") else _number)(key, raw[key])
        for key, field in BOUND.items()
        if key in raw
    }
    return Rule(bound=Bound(**bound), **values)


def _inhibition(raw: Any) -> Inhibition:
    _known(raw, {"source", "target", "equal"})
    sides: dict[str, dict[str, str]] = {}
    for key in ("source", "target"):
        if not isinstance(raw.get(key), dict):
            raise ValueError(f"{key} must be a mapping of labels to patterns.")
        sides[key] = {str(label): _text(key, pattern) for label, pattern in raw[key].items()}
    return Inhibition(source=sides["source"], target=sides["target"], equal=_texts("equal", raw.get("equal", [])))


def _routing(raw: Any) -> Routing:
    _known(raw, {*ROUTING, "group_by"})
    values: dict[str, Any] = {field: duration(raw[key]) for key, field in ROUTING.items() if key in raw}
    if "group_by" in raw:
        values["group_by"] = _texts("group_by", raw["group_by"])
    return Routing(**values)


def _strangers(rules: Sequence[Rule], receivers: Sequence[str] | None) -> list[str]:
    """Receivers that nobody has configured."""
    if receivers is None:
        return []
    return [
        f"rule {rule.name!r}: there is no receiver {name!r}. Known are {', '.join(receivers)}; "
        "add it to OMNI_NOTIFY__RECEIVERS."
        for rule in rules
        for name in rule.receivers or ()
        if name not in receivers
    ]


def _try(faults: list[str], where: str, make: Callable[[], T]) -> T | None:
    try:
        return make()
    except ValueError as error:
        faults.append(f"{where}: {error}")
        return None


def _called(raw: Any, at: int) -> str:
    name = raw.get("name") if isinstance(raw, dict) else None
    return repr(name) if isinstance(name, str) else str(at)


def _known(raw: Any, keys: set[str]) -> None:
    if not isinstance(raw, Mapping):
        raise ValueError(f"it must be a mapping, got {type(raw).__name__}.")
    if strange := sorted(str(key) for key in raw if key not in keys):
        raise ValueError(f"there is no key {', '.join(strange)}. Known are {', '.join(sorted(keys))}.")


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{key} must be text, got {value!r}. Put it in quotes.")
    return value


def _texts(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{key} must be a list, got {value!r}.")
    return tuple(_text(key, entry) for entry in value)


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key} must be a number, got {value!r}.")
    return value
