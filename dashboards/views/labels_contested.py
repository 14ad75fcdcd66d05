"""Disagreements: somebody says that an answer is wrong, and somebody else settles it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

from dashboards.pages import Action, Form, Nothing, Page, check_seen
from dashboards.samples import ShownSample, shown
from dashboards.signing_in import ours
from dashboards.site import Deed, Done, Visit
from db.errors import IllegalMove, NotFound
from db.records import Claim, Disagreement, Label, StoredSample
from db.repository import disagreements, labels, samples, tasks

MOST = 50
"""Open disagreements on one page; the oldest come first."""


@dataclass(frozen=True, kw_only=True)
class Contested:
    """A sample about which somebody disagrees."""

    sample: ShownSample | None
    disagreement: Disagreement
    label: Label | None
    """In force now."""

    @property
    def seen(self) -> str:
        """What is decided on, to be sent along with the decision."""
        return standing(self.disagreement, self.label)


@dataclass(frozen=True, kw_only=True)
class Disputes:
    """What waits to be settled, and what was settled lately."""

    open: list[Contested]
    num_open: int
    settled: list[Disagreement]


class About(BaseModel):
    """The sample that somebody disagrees about."""

    sample: str
    to: str = "/labels/disagreements"
    """The page to go on with."""


@dataclass(frozen=True, kw_only=True)
class Objection:
    """What is said of a sample, to say that it is wrong."""

    sample: ShownSample
    claims: list[Claim]
    answers: tuple[str, ...]
    mine: str
    """What is contested by this person already; empty: nothing."""
    to: str


class ObjectionForm(Form):
    """Which claim is wrong, and what is right instead."""

    sample: str
    claim: str
    answer: str
    why: str = Field(min_length=1, max_length=300)
    to: str = "/labels/disagreements"


class SettleForm(Form):
    """How a disagreement ends."""

    outcome: Literal["keep", "replace"]
    why: str = Field(min_length=1, max_length=300)
    seen: str


def disputes(visit: Visit, asked: Nothing) -> Disputes:
    """The open ones, the oldest first, each with its sample; then the latest settled ones."""
    found = disagreements.list_disagreements(visit.session, limit=MOST)
    ids = list(dict.fromkeys(each.sample_id for each in found))
    stored = samples.get(visit.session, ids)
    media = {each.id: each for each in shown(visit.site, stored)}
    in_force = labels.active_labels(visit.session, ids)
    return Disputes(
        open=[
            Contested(sample=media.get(each.sample_id), disagreement=each, label=in_force.get(each.sample_id))
            for each in found
        ],
        num_open=disagreements.count_open(visit.session),
        settled=disagreements.list_disagreements(visit.session, is_open=False, limit=20),
    )


def objection(visit: Visit, asked: About) -> Objection:
    """What stands against what somebody may object."""
    sample = one_sample(samples.get(visit.session, [asked.sample]), asked.sample)
    open_ones = disagreements.list_disagreements(visit.session, sample_ids=[sample.id])
    return Objection(
        sample=shown(visit.site, [sample])[0],
        claims=disagreements.claims(visit.session, sample.id),
        answers=tasks.get_task(visit.session, sample.task).answers,
        mine=next((each.answer for each in open_ones if each.who == visit.person.name), ""),
        to=ours(asked.to),
    )


def object_(deed: Deed, form: ObjectionForm) -> Done:
    """Record the objection; nothing is overwritten."""
    with deed.site.database.write() as session:
        found = [each for each in disagreements.claims(session, form.sample) if key_of(each) == form.claim]
        if not found:
            raise IllegalMove(f"Nobody says that of sample {form.sample} any more. Look again.")
        disagreements.disagree(
            session, form.sample, form.answer, claim=found[0], who=deed.person.name, why=form.why, now=deed.now
        )
    return Done(message=f"Recorded. {form.sample} is not used for training until it is settled.", to=ours(form.to))


def settle(deed: Deed, form: SettleForm) -> Done:
    """Keep what was contested, or replace it."""
    number = int(deed.path["number"])
    with deed.site.database.write() as session:
        found = disagreements.get(session, number)
        check_seen(form.seen, standing(found, labels.active_label(session, found.sample_id)))
        done = disagreements.settle(session, number, form.outcome, who=deed.person.name, why=form.why, now=deed.now)
    answer = done.answer if form.outcome == "replace" else done.claimed
    return Done(message=f"Settled: {done.sample_id} is {answer!r}.", to="/labels/disagreements")


def standing(disagreement: Disagreement, label: Label | None) -> str:
    """A disagreement and the label in force, in words that change when either does."""
    state = "open" if disagreement.settled_at is None else f"settled by {disagreement.settled_by}"
    return f"{state}, label {label.answer + ' of ' + label.origin if label else 'none'}"


def key_of(claim: Claim) -> str:
    """A claim in one word, for a form.

    >>> from datetime import UTC, datetime
    >>> key_of(Claim(against="label", answer="3", by="human:ann", at=datetime(2026, 3, 1, tzinfo=UTC)))
    'label|human:ann|3'
    """
    return f"{claim.against}|{claim.by}|{claim.answer}"


def one_sample(found: list[StoredSample], id_: str) -> StoredSample:
    """The sample that was asked for. `NotFound` without one."""
    if not found:
        raise NotFound(f"There is no sample {id_[:200]!r}. It was deleted, or never came in.")
    return found[0]


PARTS = (
    Page(
        path="/labels/disagreements",
        title="Disagreements",
        template="labels_disagreements.html",
        build=disputes,
        topics=("labels",),
    ),
    Page(
        path="/labels/disagree",
        title="Disagree",
        template="labels_disagree.html",
        build=objection,
        asks=About,
        role="labeller",
    ),
    Action(path="/labels/disagree", role="labeller", form=ObjectionForm, do=object_),
    Action(path="/labels/disagreements/{number:int}/settle", role="operator", form=SettleForm, do=settle),
)
