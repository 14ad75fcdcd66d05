"""Drafts of rules: kept in the home's cache under their digest, checked, and replayed over the record."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dashboards.problems import Problem
from dashboards.site import Site, Visit
from db.repository import measurements
from monitoring.alerting import rule_file
from monitoring.alerting.evaluating import Reading
from monitoring.alerting.reading import RulesError, parse_rules
from monitoring.alerting.replay import Replayed, replay
from monitoring.alerting.rule import RuleSet
from monitoring.alerting.rules_config import AlertingConfig
from monitoring.measures.window import OF_FEEDBACK
from monitoring.vitals import BASELINE

MOST_KEPT = 50
MOST_ROWS = 30_000
"""Measurements of a metric that are replayed for a page: the latest."""
_replaying = threading.Lock()
"""A replay takes seconds of a processor: one at a time."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why rules cannot be used."""

    line: int | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Fired:
    """What a rule would have done on a slice."""

    rule: str
    slice: str
    num_evaluations: int
    num_no_data: int
    num_fired: int
    last: str
    """When it would have fired last, and why; empty if never."""
    note: str


def keep(site: Site, text: str) -> str:
    """Keep a draft; returns its digest."""
    folder = site.wiring.home / "cache" / "rules"
    folder.mkdir(parents=True, exist_ok=True)
    digest = rule_file.digest_of(text)
    (folder / f"{digest}.yaml").write_text(text, encoding="utf-8")
    kept = sorted(folder.glob("*.yaml"), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in kept[MOST_KEPT:]:
        old.unlink(missing_ok=True)
    return digest


def read(site: Site, digest: str) -> str:
    """A draft that was kept. A `Problem` (404) for one that was not, or not lately."""
    place: Path = site.wiring.home / "cache" / "rules" / f"{digest}.yaml"
    if re.fullmatch(r"[0-9a-f]{64}", digest) is None or not place.is_file():
        raise Problem(404, "There is no such draft, or it is too old. Begin again from the rules in force.")
    return place.read_text(encoding="utf-8")


def checked(site: Site, text: str) -> tuple[RuleSet | None, list[Fault]]:
    """The rules of a text, or every fault with its line."""
    try:
        return parse_rules(text, receivers=list(site.wiring.receivers)), []
    except RulesError as error:
        return None, [Fault(line=line, text=told) for line, told in rule_file.with_lines(text, error.faults)]


def config_of(site: Site) -> AlertingConfig:
    """How patient the watch is."""
    return AlertingConfig(**dict(site.wiring.alerting))


def tried(visit: Visit, rules: RuleSet, span: timedelta) -> list[Fired]:
    """What the rules would have done over what was recorded in the last `span`."""
    since, session = visit.now - span, visit.session
    metrics = sorted({rule.metric for rule in rules.rules})
    rows = {metric: measurements.series(session, metric, since=since, limit=MOST_ROWS) for metric in metrics}
    known = measurements.get_baseline(session, BASELINE)
    values = {} if known is None else known.values.get("metrics", {})

    def baseline(metric: str, slice_: str) -> Reading | None:
        found = values.get(slice_, {}).get(metric)
        if found is None and metric in OF_FEEDBACK:
            found = values.get("all", {}).get(metric)
        if found is None:
            return None
        return Reading(value=found["value"], num_samples=found["num_samples"], spread=found.get("spread"))

    with _replaying:
        return [_fired(entry) for entry in replay(rules.rules, rows, baseline, config_of(visit.site))]


def _fired(entry: Replayed) -> Fired:
    episodes = entry.result.episodes
    last = f"{episodes[-1].fired_at:%Y-%m-%d %H:%M} UTC: {episodes[-1].why}" if episodes else ""
    return Fired(
        rule=entry.rule.name,
        slice=entry.slice,
        num_evaluations=entry.result.num_evaluations,
        num_no_data=entry.result.num_no_data,
        num_fired=len(episodes),
        last=last,
        note=f"replayed on a window of {entry.windows_s[0]:.0f} s" if entry.windows_s else "",
    )
