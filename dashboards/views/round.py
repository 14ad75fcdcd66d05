"""One round from top to bottom: who asked, what was chosen, the labels, the training, the evidence, what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from dashboards.asked import RowNumber
from dashboards.pages import Action, Form, Page, check_seen
from dashboards.samples import ShownSample, shown
from dashboards.site import Deed, Done, Visit
from dashboards.views.overview import BEGAN, NEXT
from dashboards.views.round_gate import Judged, comparisons_of, judged, limits_of, replayed
from db.records import AuditEntry, Release, Round, RoundSample, RoundStep, Trigger
from db.repository import audit, label_queue, labels, round_ends, rounds, samples, triggers, versions
from db.rounds import STEPS

SHOWN = 8
"""Samples of each arm that the page shows."""


class Which(BaseModel):
    """Which round, and under which other limits to judge it again."""

    round: RowNumber
    max_relative_fall: float | None = Field(default=None, gt=0, lt=1, allow_inf_nan=False)
    confidence: float | None = Field(default=None, gt=0.5, lt=1, allow_inf_nan=False)


class WhyForm(Form):
    """Something done with a round, and why."""

    why: str = Field(min_length=1, max_length=300)
    seen: str


@dataclass(frozen=True, kw_only=True)
class Member:
    """A sample that the round asked for."""

    sample: ShownSample
    score: float | None
    answer: str | None
    """Its label by now."""
    origin: str | None


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Samples that were chosen in one way."""

    num: int
    mean_score: float | None
    members: list[Member]
    """The first of them."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """Everything on the page."""

    round: Round
    began: str
    does: str
    """What it does now; empty for one that has ended."""
    steps: list[RoundStep]
    next_steps: list[str]
    """What is still to be done."""
    requests: list[Trigger]
    askers: list[str]
    selection: dict[str, Any]
    """What the filter reported; empty before it, and for a first round."""
    counts: dict[str, int]
    """Samples by the part that they have in the round."""
    chosen: Arm
    control: Arm
    num_labels: int
    num_asked: int
    has_curves: bool
    gate: Judged | None
    replay: Judged | None
    """The verdict under the limits that were asked for."""
    evidence_problem: str
    """Why the evidence cannot be shown; empty if it can."""
    release: Release | None
    life: list[AuditEntry]
    """What became of the version, oldest first."""
    trail: list[AuditEntry]
    """The audit lines about the round itself, newest first."""
    seen: str


def story(visit: Visit, asked: Which) -> Story:
    """All of it. `NotFound` if there is no such round."""
    session = visit.session
    round_ = rounds.get_round(session, asked.round)
    release = versions.release_of_round(session, round_.id)
    requests = triggers.of_round(session, round_.id)
    num_done, num_asked = label_queue.progress(session, round_.id)
    gate, replay, problem = evidence(visit, round_, asked)
    chosen, control = arms(visit, round_)
    return Story(
        round=round_,
        began=BEGAN.get(round_.trigger, f"begun by {round_.trigger}"),
        does=NEXT[round_.step] if round_.is_open else "",
        steps=rounds.steps_of(session, round_.id),
        next_steps=list(STEPS[STEPS.index(round_.step) + 1 :]) if round_.is_open else [],
        requests=requests,
        askers=sorted(set[str]().union(*(triggers.askers_of(request.detail) for request in requests))),
        selection=dict(round_.outputs.get("filtered", {})),
        counts=rounds.count_round_samples(session, round_.id),
        chosen=chosen,
        control=control,
        num_labels=num_done,
        num_asked=num_asked,
        has_curves=trains(round_),
        gate=gate,
        replay=replay,
        evidence_problem=problem,
        release=release,
        life=[] if release is None else audit.history(session, version=release.version),
        trail=audit.newest(session, subject="round", subject_id=round_.id, limit=50),
        seen=standing(round_),
    )


def trains(round_: Round) -> bool:
    """Whether a round has trained, or may be training now."""
    first = round_.base_version is None and round_.step == "opened"
    return "tuned" in round_.outputs or round_.step == "labelled" or first


def arms(visit: Visit, round_: Round) -> tuple[Arm, Arm]:
    """What was chosen by its score, and what by chance beside it."""
    found = rounds.round_samples(visit.session, round_.id, "selected", "control")
    sides = [[row for row in found if row.role == role] for role in ("selected", "control")]
    first = [row.sample_id for side in sides for row in side[:SHOWN]]
    stored = {sample.id: sample for sample in samples.get(visit.session, first)}
    answers = labels.active_labels(visit.session, first)

    def arm(side: list[RoundSample]) -> Arm:
        rows = [row for row in side[:SHOWN] if row.sample_id in stored]
        pictures = shown(visit.site, [stored[row.sample_id] for row in rows])
        scores = [row.score for row in side if row.score is not None]
        return Arm(
            num=len(side),
            mean_score=sum(scores) / len(scores) if scores else None,
            members=[
                Member(
                    sample=picture,
                    score=row.score,
                    answer=answers[row.sample_id].answer if row.sample_id in answers else None,
                    origin=answers[row.sample_id].origin if row.sample_id in answers else None,
                )
                for row, picture in zip(rows, pictures, strict=True)
            ],
        )

    return arm(sides[0]), arm(sides[1])


def evidence(visit: Visit, round_: Round, asked: Which) -> tuple[Judged | None, Judged | None, str]:
    """The verdict as it was, the verdict under other limits if somebody asks, and why there is none."""
    try:
        comparisons, config = comparisons_of(visit.site, round_), limits_of(visit.site, round_)
        if not comparisons:
            return None, None, ""
        other = None
        if asked.max_relative_fall is not None or asked.confidence is not None:
            other = replayed(comparisons, config, asked.max_relative_fall, asked.confidence)
        return judged(comparisons, config), other, ""
    except (ValueError, TypeError, KeyError) as error:
        return None, None, str(error)


def standing(round_: Round) -> str:
    """What a decision about the round rests on."""
    ended = "open" if round_.is_open else f"closed as {round_.outcome}"
    return f"{ended}, in quarantine" if round_.quarantined_at else ended


def cancel(deed: Deed, form: WhyForm) -> Done:
    """End an open round; whatever works on it stops at its next step."""
    number = int(deed.path["round"])
    with deed.site.database.write() as session:
        check_seen(form.seen, standing(rounds.get_round(session, number)))
        round_ends.cancel(session, number, who=deed.person.name, why=form.why, now=deed.now)
    return Done(message=f"Round {number} is cancelled. Another may start.", to=f"/rounds/{number}")


def lift(deed: Deed, form: WhyForm) -> Done:
    """Let the labels of a round count again."""
    number = int(deed.path["round"])
    with deed.site.database.write() as session:
        check_seen(form.seen, standing(rounds.get_round(session, number)))
        rounds.lift_quarantine(session, number, who=deed.person.name, why=form.why, now=deed.now)
    return Done(message=f"The labels of round {number} count again.", to=f"/rounds/{number}")


PARTS = (
    Page(
        path="/rounds/{round:int}",
        title="Round",
        template="round.html",
        build=story,
        asks=Which,
        topics=("rounds", "labels", "versions"),
    ),
    Action(path="/rounds/{round:int}/cancel", role="operator", form=WhyForm, do=cancel),
    Action(path="/rounds/{round:int}/lift-quarantine", role="admin", form=WhyForm, do=lift),
)
