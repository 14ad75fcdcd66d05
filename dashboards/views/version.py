"""One version: what it is, how good it is, where it came from, what may be done with it, and who did what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from sqlalchemy.orm import Session

from dashboards.asked import RowNumber
from dashboards.confusion import Confusion, confusion_of
from dashboards.evidence import Change, change_of, read_comparisons, sheet_of
from dashboards.offers import Offer, Standing, offers
from dashboards.pages import Page
from dashboards.site import Site, Visit
from db.errors import BlobError, NotFound
from db.records import Agreement, AuditEntry, Release, Report, Round, Serving, Trial
from db.records.artefacts import MSN, Artefact
from db.repository import (
    artefacts,
    audit,
    lineage,
    mirrors,
    probation,
    reports,
    rounds,
    tasks,
    trials,
    triggers,
    versions,
)
from monitoring.config import EVERYTHING

CARD = "card"
"""The kind of artefact that describes a version in words."""


class Which(BaseModel):
    """The version's number."""

    version: RowNumber


@dataclass(frozen=True, kw_only=True)
class Ancestor:
    """A version on the way from the first one to this."""

    version: int
    learnt: Mapping[str, int]
    """Samples that its own round learnt from, by role."""

    @property
    def num_learnt(self) -> int:
        """All of them."""
        return sum(self.learnt.values())


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Live requests with feedback that this version and the one before it both answered."""

    num: int
    num_new_right: int
    num_old_right: int


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What was measured before the decision."""

    against: int | None = None
    num_samples: int | None = None
    accuracy: float | None = None
    accuracy_by_domain: Mapping[str, Any] = field(default_factory=dict)
    overall: list[Change] = field(default_factory=list)
    slices: list[Change] = field(default_factory=list)
    confusion: Confusion | None = None
    verdict: str = ""
    reasons: tuple[str, ...] = ()
    problem: str = ""
    """Why the evidence cannot be shown; empty if it can, or if there is none."""


@dataclass(frozen=True, kw_only=True)
class Version:
    """Everything on the page."""

    release: Release
    serving: Serving
    round: Round | None
    validation: Validation
    line: list[Ancestor]
    """This version first, the first one of all last."""
    children: list[int]
    """Versions that were tuned from it, the newest first."""
    artefacts: list[Artefact]
    msn: Artefact | None
    card: str
    reports: list[Report]
    trials: list[Trial]
    trial: Trial | None
    """The one that runs, if it is this version's."""
    agreement: Agreement | None
    pairs: Pairs
    offers: list[Offer]
    audit: list[AuditEntry]
    mlflow: str
    """Where MLflow shows it; empty if nowhere."""


def version(visit: Visit, asked: Which) -> Version:
    """All about one version. The number of queries does not depend on how much there is of anything."""
    session, site = visit.session, visit.site
    around = versions.around(session, asked.version)
    if asked.version not in around:
        raise NotFound(f"There is no version {asked.version}. Find the others on the page of versions.")
    release, serving = around[asked.version], versions.serving(session)
    round_ = None if release.round_id is None else rounds.get_round(session, release.round_id)
    known_trials = trials.history(session, limit=200)
    running = next((trial for trial in known_trials if trial.is_running), None)
    own = [trial for trial in known_trials if trial.version == release.version]
    parent_of = lineage.parents(session)
    made = artefacts.list_artefacts(session, release.version)
    standing = Standing(
        release=release,
        serving=serving,
        around=around,
        trial=running,
        is_tainted=round_ is not None and round_.quarantined_at is not None,
        asked_by=_asked_by(session, site, release),
    )
    return Version(
        release=release,
        serving=serving,
        round=round_,
        validation=_validation(session, site, round_, release.version),
        line=_line(session, lineage.line_of(parent_of, release.version)),
        children=sorted((each for each, parent in parent_of.items() if parent == release.version), reverse=True),
        artefacts=made,
        msn=_newest(made, MSN),
        card=_card(site, _newest(made, CARD)),
        reports=reports.list_reports(session, version=release.version, limit=20),
        trials=own,
        trial=running if running is not None and running.version == release.version else None,
        agreement=_agreement(session, own),
        pairs=Pairs(**dict(zip(("num", "num_new_right", "num_old_right"), _pairs(session, release), strict=True))),
        offers=offers(standing, visit.person),
        audit=audit.newest(session, version=release.version, limit=50),
        mlflow=_mlflow(site, release),
    )


def _validation(session: Session, site: Site, round_: Round | None, version: int) -> Validation:
    validated = {} if round_ is None else dict(round_.outputs.get("validated", {}))
    if round_ is None or not validated:
        return Validation()
    decided = round_.outputs.get("decided", {})
    told: dict[str, Any] = {
        "against": validated.get("against"),
        "num_samples": validated.get("num_samples"),
        "accuracy": validated.get("accuracy"),
        "accuracy_by_domain": validated.get("accuracy_by_domain", {}),
        "verdict": decided.get("verdict", ""),
        "reasons": tuple(decided.get("reasons", ())),
    }
    if not validated.get("evidence"):
        return Validation(**told)
    try:
        rows = read_comparisons(site, validated["comparisons"])
        sheet = sheet_of(site, round_, version, tasks.list_tasks(session), is_new=True)
    except ValueError as error:
        return Validation(**told, problem=str(error))
    return Validation(
        **told,
        overall=[change_of(row) for row in rows if row.slice == EVERYTHING and row.num_samples],
        slices=[
            change_of(row) for row in rows if row.slice != EVERYTHING and row.metric == "accuracy" and row.num_samples
        ],
        confusion=confusion_of(sheet.answers.answer, sheet.outcomes.target, sheet.names),
    )


def _asked_by(session: Session, site: Site, release: Release) -> Sequence[str]:
    if not site.wiring.approver_differs or release.round_id is None:
        return ()
    return triggers.asked_by(session, release.round_id)


def _line(session: Session, line: Sequence[int]) -> list[Ancestor]:
    learnt = lineage.count_learnt(session, line)
    return [Ancestor(version=each, learnt=learnt.get(each, {})) for each in line]


def _agreement(session: Session, own: Sequence[Trial]) -> Agreement | None:
    return mirrors.agreement(session, own[0].version, own[0].base_version, since=own[0].started_at) if own else None


def _pairs(session: Session, release: Release) -> tuple[int, int, int]:
    return probation.count_pairs(session, release.version)


def _newest(made: Sequence[Artefact], kind: str) -> Artefact | None:
    return max((each for each in made if each.kind == kind), key=lambda each: each.id, default=None)


def _card(site: Site, artefact: Artefact | None) -> str:
    if artefact is None:
        return ""
    try:
        return site.blobs.get(artefact.digest).decode("utf-8", errors="replace")
    except BlobError as error:
        return f"The card cannot be read: {error}"


def _mlflow(site: Site, release: Release) -> str:
    base = site.wiring.mlflow_url.rstrip("/")
    name = site.wiring.settings.get("registered_model", "omniloop")
    return f"{base}/#/models/{name}/versions/{release.mlflow_version}" if base and release.mlflow_version else ""


PARTS = (
    Page(
        path="/versions/{version:int}",
        title="Version",
        template="version.html",
        build=version,
        asks=Which,
        topics=("versions",),
    ),
)
