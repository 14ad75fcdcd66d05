"""Settings: what is in force, the policies in words, who is told of alerts. They come from the environment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dashboards.pages import Nothing, Page
from dashboards.rendering import duration
from dashboards.site import Visit
from db.records.keys import SCOPES, StoredKey
from db.records.users import ROLES, User
from db.repository import keys, users

PREFIX = "OMNI_"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting in force."""

    name: str
    """The environment variable that changes it."""
    value: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """Settings that belong together."""

    title: str
    settings: list[Setting]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything that is set."""

    policies: list[str]
    """What the settings mean, in sentences."""
    receivers: Mapping[str, str]
    sections: list[Section]
    people: list[User]
    """For admins; nobody else is shown who may sign in."""
    keys: list[StoredKey]
    """For admins."""
    roles: tuple[str, ...]
    scopes: tuple[str, ...]


def setup(visit: Visit, asked: Nothing) -> Setup:
    """All of it; people and keys only for admins."""
    is_admin, told = visit.person.may("admin"), visit.site.wiring
    return Setup(
        policies=policies(told.settings, approver_differs=told.approver_differs),
        receivers=dict(told.receivers),
        sections=sections(told.settings),
        people=users.list_users(visit.session) if is_admin else [],
        keys=keys.list_keys(visit.session) if is_admin else [],
        roles=ROLES,
        scopes=SCOPES,
    )


def sections(settings: Mapping[str, Any]) -> list[Section]:
    """The settings under the names of their environment variables.

    >>> shown = sections({"home": "/x", "loop": {"seed": 0, "domains": ["a"]}})
    >>> [(section.title, [(each.name, each.value) for each in section.settings]) for section in shown]
    [('general', [('OMNI_HOME', '/x')]), ('loop', [('OMNI_LOOP__SEED', '0'), ('OMNI_LOOP__DOMAINS', '["a"]')])]
    """
    plain = {name: value for name, value in settings.items() if not isinstance(value, Mapping)}
    nested = {name: value for name, value in settings.items() if isinstance(value, Mapping)}
    found = [Section(title=name, settings=list(_named(value, (name,)))) for name, value in nested.items()]
    general = Section(title="general", settings=list(_named(plain, ())))
    return [general, *found] if plain else found


def _named(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Setting]:
    for name, value in values.items():
        here = (*path, name)
        if isinstance(value, Mapping) and value:
            yield from _named(value, here)
        else:
            yield Setting(name=PREFIX + "__".join(here).upper(), value=_told(value))


def _told(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def policies(settings: Mapping[str, Any], *, approver_differs: bool) -> list[str]:
    """What the settings mean for what happens, in sentences; what is not known is left out.

    >>> policies({"loop": {"promotion": "manual"}}, approver_differs=True)[0]
    'Promotion is manual: whatever the gate accepts waits for an approver.'
    """
    loop, gate = settings.get("loop", {}), settings.get("gate", {})
    probation, selection = settings.get("probation", {}), settings.get("selection", {})
    found = []
    if "promotion" in loop:
        is_manual = loop["promotion"] == "manual"
        found.append(
            "Promotion is manual: whatever the gate accepts waits for an approver."
            if is_manual
            else "Promotion is automatic: what the gate accepts goes into service on probation; what it cannot decide "
            "waits for an approver."
        )
    found.append(
        "Whoever started a round may not approve its version."
        if approver_differs
        else "Whoever started a round may approve its version too."
    )
    if {"max_relative_fall", "confidence", "min_items"} <= set(gate):
        found.append(
            f"The gate accepts only if a relative fall of more than {gate['max_relative_fall']:.0%} is ruled out with "
            f"{gate['confidence']:.0%} confidence, on {gate['min_items']} independent items or more."
        )
    if {"max_relative_fall", "min_pairs", "max_pairs", "disaster_points"} <= set(probation):
        found.append(
            f"Probation compares {probation['min_pairs']:,} to {probation['max_pairs']:,} answers of the new and the "
            f"old version; an established fall of {probation['max_relative_fall']:.0%} rolls back, one of "
            f"{probation['disaster_points'] * 100:.0f} points does so at once."
        )
    if "label_share_to_go_on" in loop:
        found.append(f"A round trains once {loop['label_share_to_go_on']:.0%} of its samples are labelled.")
    if "budget" in selection:
        found.append(f"A round asks for {selection['budget']} labels by uncertainty and chance together.")
    retention = settings.get("service", {}).get("log_days")
    if retention:
        found.append(f"Answers without feedback are forgotten after {duration(retention * 86400)}.")
    return found


PARTS = (Page(path="/settings", title="Settings", template="settings.html", build=setup, topics=("audit",)),)
