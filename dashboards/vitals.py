"""The six measures of the overview, read from the database, and the rules that they are held to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from sqlalchemy.orm import Session

from dashboards.site import Site
from db.repository import measurements
from monitoring.alerting.reading import parse_rules
from monitoring.alerting.rule import Rule, RuleSet
from monitoring.alerting.rule_file import in_force
from monitoring.vitals import BASELINE, SHOWN, TITLES, Vital, held_to, vital, windows_of


def rules_in_force(site: Site) -> RuleSet:
    """The rules of the file that the settings name, else those that come with the program.

    A file that cannot be read or used is a `ValueError` that says so.
    """
    path = str(site.wiring.alerting.get("rules") or "")
    try:
        return parsed(in_force(site.wiring.home, path).text)
    except OSError as error:
        raise ValueError(
            f"The rules in {path} cannot be read: {error}. Mend the path in OMNI_ALERTING__RULES."
        ) from error


@lru_cache(maxsize=4)
def parsed(text: str) -> RuleSet:
    """The rules of a text, read once."""
    return parse_rules(text)


def vitals(session: Session, rules: Sequence[Rule], *, version: int | None, now: datetime) -> list[Vital]:
    """All six, in two queries."""
    found = measurements.recent(session, windows_of(rules), version=version, since=now - SHOWN)
    known = measurements.get_baseline(session, BASELINE)
    baselines = {} if known is None else known.values.get("metrics", {}).get("all", {})
    return [
        vital(name, held_to(rules, name), [row for row in found if row.metric == name], baselines.get(name), now)
        for name in TITLES
    ]
