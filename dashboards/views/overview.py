"""The page that is kept open: is it well, what goes on, and what waits for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dashboards.pages import Nothing, Page
from dashboards.site import Visit
from dashboards.vitals import rules_in_force, vitals
from db.records import Alert, Release, Round, Serving, Trial
from db.records.glance import Glance
from db.repository import alerts, glance, rounds, trials, versions
from db.rounds import STEPS
from monitoring.config import ProbationConfig
from monitoring.probation import ProbationState
from monitoring.vitals import Verdict, Vital, judged

NEXT: dict[str, str] = {
    "opened": "choosing samples to label",
    "filtered": "getting labels",
    "labelled": "fine-tuning",
    "tuned": "registering the candidate",
    "registered": "comparing it with the version in service",
    "validated": "deciding",
    "decided": "closing",
}
"""What a round does after the step that it has done."""
BEGAN: dict[str, str] = {
    "manual": "asked for by hand",
    "schedule": "begun by the clock",
    "new_labels": "begun because of new labels",
    "drift": "begun because of drift",
    "performance": "begun because answers got worse",
}


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Something that a person has to do."""

    words: str
    path: str
    num: int


@dataclass(frozen=True, kw_only=True)
class OnProbation:
    """How far a probation is."""

    num_pairs: int
    num_needed: int
    """Pairs before an ordinary verdict."""
    num_most: int
    """Pairs after which a person decides."""
    new_accuracy: float
    old_accuracy: float
    so_far: str


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Everything on the page."""

    verdict: Verdict
    serving: Serving
    release: Release | None
    probation: OnProbation | None
    trial: Trial | None
    glance: Glance
    vitals: list[Vital]
    rules_fault: str
    """Why the rules could not be read; empty if they could."""
    alerts: list[Alert]
    round: Round | None
    round_began: str
    round_does: str
    steps_done: int
    num_steps: int
    waiting: list[Waiting]


def overview(visit: Visit, asked: Nothing) -> Overview:
    """Everything at once; the number of queries does not depend on how much there is."""
    session, now = visit.session, visit.now
    serving, release = versions.in_service(session)
    seen = glance.look(session, now=now)
    rules, fault = _rules(visit)
    signs = vitals(session, rules, version=serving.version, now=now)
    open_alerts = sorted(alerts.list_alerts(session, is_open=True, limit=50), key=_worst_first)
    open_round = rounds.resume_target(session)
    waiting = _waiting(versions.history(session, "awaiting_approval"), seen, open_round)
    return Overview(
        verdict=judged(release.state if release else None, signs, open_alerts, fault, now),
        serving=serving,
        release=release,
        probation=_probation(visit, release, seen),
        trial=trials.running(session),
        glance=seen,
        vitals=signs,
        rules_fault=fault,
        alerts=open_alerts,
        round=open_round,
        round_began="" if open_round is None else BEGAN.get(open_round.trigger, f"begun by {open_round.trigger}"),
        round_does="" if open_round is None else NEXT[open_round.step],
        steps_done=0 if open_round is None else STEPS.index(open_round.step),
        num_steps=len(STEPS) - 1,
        waiting=waiting,
    )


def _rules(visit: Visit) -> tuple[Any, str]:
    try:
        return rules_in_force(visit.site).rules, ""
    except ValueError as error:
        return (), str(error)


def _worst_first(alert: Alert) -> tuple[bool, int, int]:
    order = ("critical", "warning", "info")
    return alert.state != "firing", order.index(alert.severity) if alert.severity in order else 3, -alert.id


def _probation(visit: Visit, release: Release | None, seen: Glance) -> OnProbation | None:
    if release is None or release.state != "probation":
        return None
    config = ProbationConfig(**visit.site.wiring.settings.get("probation", {}))
    state = ProbationState(
        config=config,
        num_both=seen.num_both,
        num_lost=seen.num_lost,
        num_won=seen.num_won,
        num_neither=seen.num_neither,
    )
    return OnProbation(
        num_pairs=state.num_pairs,
        num_needed=config.min_pairs,
        num_most=config.max_pairs,
        new_accuracy=state.new_accuracy,
        old_accuracy=state.old_accuracy,
        so_far=state.reason if state.num_pairs else "No pair yet: it takes requests with feedback.",
    )


def plural(words: str, num: int) -> str:
    """A sentence about samples that wait, for one of them too.

    >>> plural("1 samples wait for a label", 1)
    '1 sample waits for a label'
    """
    return words.replace("samples wait", "sample waits") if num == 1 else words


def _waiting(releases: list[Release], seen: Glance, open_round: Round | None) -> list[Waiting]:
    """What a person has to do, the decisions first."""
    things = [
        Waiting(words=f"v{release.version} waits for approval", path=f"/versions/{release.version}", num=1)
        for release in releases[:5]
    ]
    if len(releases) > len(things):
        path = "/versions?state=awaiting_approval"
        things.append(Waiting(words=f"{len(releases) - 5} more wait for approval", path=path, num=len(releases) - 5))
    if seen.num_to_label:
        words = (
            "1 sample waits for a label"
            if seen.num_to_label == 1
            else f"{seen.num_to_label:,} samples wait for a label"
        )
        things.append(Waiting(words=plural(words, seen.num_to_label), path="/labels", num=seen.num_to_label))
    if seen.num_contested:
        words = f"{seen.num_contested:,} samples wait for a disagreement to be settled"
        things.append(
            Waiting(words=plural(words, seen.num_contested), path="/labels/disagreements", num=seen.num_contested)
        )
    return things


PARTS = (
    Page(
        path="/",
        title="Overview",
        template="overview.html",
        build=overview,
        topics=("versions", "rounds", "labels", "alerts", "measurements"),
    ),
)
