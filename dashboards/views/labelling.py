"""Labelling: the next sample, an answer by one key, and the ways around it: skip, undo, disagree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from dashboards.asked import Blank, MaybeRow
from dashboards.label_keys import keys_of
from dashboards.pages import Action, Form, Page
from dashboards.samples import ShownSample, shown
from dashboards.site import Deed, Done, Visit
from db.records import Claim, Label, QueueEntry, StoredSample
from db.repository import disagreements, label_queue, labelling, labels, samples, tasks

REMEMBERED = timedelta(hours=12)
"""How long ago one's last answer may be to be shown, to be undone."""
SAID = {
    "labelled": "",
    "confirmed": "There was a label already, from somebody else, and you said the same: it stands.",
    "contested": "There was a label already, from somebody else, and you said something else. Neither is used for "
    "training until an operator settles it.",
}
"""What is told of an answer."""


class Working(BaseModel):
    """What somebody has set out to label, and since when they sit here."""

    task: str = ""
    round: MaybeRow = None
    since: Annotated[Annotated[float, Field(ge=0, le=1e11)] | None, Blank] = None
    """Seconds since 1970 at which this sitting began."""

    @property
    def query(self) -> str:
        """The same, for an address."""
        known = {"task": self.task, "round": self.round, "since": self.since}
        return urlencode({name: value for name, value in known.items() if value})

    @property
    def next(self) -> str:
        """Where the next sample is."""
        return f"/labels/next?{self.query}"


class EntryForm(Form, Working):
    """Something done with a sample of the queue."""

    entry: int


class AnswerForm(EntryForm):
    """An answer to it."""

    answer: str


class UndoForm(Form, Working):
    """The label to take back, as the page showed it."""

    seen: int


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An answer that can be given."""

    answer: str
    key: str
    """The key that gives it; empty: there are too many for keys."""


@dataclass(frozen=True, kw_only=True)
class LastAnswer:
    """What this person said last, and what others say of the same sample. Shown only afterwards."""

    label: Label
    others: list[Claim]
    why_not: str
    """Why it cannot be taken back; empty if it can."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One sample to label, or the end of the queue."""

    entry: QueueEntry | None
    sample: ShownSample | None
    choices: list[Choice]
    is_labelled: bool
    """There is a label already: somebody asks again."""
    num_done: int
    num_queued: int
    num_own: int
    """How many this person has labelled in this sitting."""
    last: LastAnswer | None
    asked: Working


@dataclass(frozen=True, kw_only=True)
class _Offer:
    entry: QueueEntry
    sample: StoredSample
    answers: tuple[str, ...]
    is_labelled: bool


def bench(visit: Visit, asked: Working) -> Bench:
    """The next sample, held for this person from now on. Asking again gives the same one."""
    since = asked.since if asked.since is not None else visit.now.timestamp()
    working = asked.model_copy(update={"since": since})
    with visit.site.database.write() as session:
        offer = _offer(session, visit, working)
    began = datetime.fromtimestamp(since, UTC)
    num_done, num_queued = labelling.count_queue(visit.session, task=asked.task or None, round_id=asked.round)
    keys = () if offer is None else zip(offer.answers, keys_of(offer.answers), strict=True)
    return Bench(
        entry=None if offer is None else offer.entry,
        sample=None if offer is None else shown(visit.site, [offer.sample])[0],
        choices=[Choice(answer=answer, key=key) for answer, key in keys],
        is_labelled=offer is not None and offer.is_labelled,
        num_done=num_done,
        num_queued=num_queued,
        num_own=labelling.count_own(visit.session, visit.person.name, since=began),
        last=_last(visit.session, visit.person.name, visit.now - REMEMBERED),
        asked=working,
    )


def _offer(session: Session, visit: Visit, asked: Working) -> _Offer | None:
    who = visit.person.name
    entry = label_queue.next_to_label(session, who=who, now=visit.now, task=asked.task or None, round_id=asked.round)
    if entry is None:
        return None
    sample = samples.get(session, [entry.sample_id])[0]
    return _Offer(
        entry=entry,
        sample=sample,
        answers=tasks.get_task(session, sample.task).answers,
        is_labelled=labels.active_label(session, sample.id) is not None,
    )


def _last(session: Session, who: str, since: datetime) -> LastAnswer | None:
    label = labelling.last_own(session, who, since=since)
    if label is None:
        return None
    others = [claim for claim in disagreements.claims(session, label.sample_id) if claim.against != "label"]
    return LastAnswer(label=label, others=others, why_not=labelling.why_learnt(session, label))


def answer(deed: Deed, form: AnswerForm) -> Done:
    """Label the sample, or say that its label is wrong."""
    with deed.site.database.write() as session:
        came = labelling.answer_entry(session, form.entry, form.answer, who=deed.person.name, now=deed.now)
    return Done(message=SAID[came], to=form.next)


def skip(deed: Deed, form: EntryForm) -> Done:
    """Pass the sample on."""
    with deed.site.database.write() as session:
        label_queue.skip(session, form.entry, who=deed.person.name, now=deed.now)
    return Done(message="Skipped: it is offered to others, not to you again.", to=form.next)


def undo(deed: Deed, form: UndoForm) -> Done:
    """Take the last label back; its sample comes up again."""
    with deed.site.database.write() as session:
        label = labelling.undo_last(session, who=deed.person.name, now=deed.now, expected=form.seen)
    return Done(message=f"Taken back: {label.answer!r}. The sample is here again.", to=form.next)


PARTS = (
    Page(path="/labels/next", title="Label", template="labelling.html", build=bench, asks=Working, role="labeller"),
    Action(path="/labels/answer", role="labeller", form=AnswerForm, do=answer),
    Action(path="/labels/skip", role="labeller", form=EntryForm, do=skip),
    Action(path="/labels/undo", role="labeller", form=UndoForm, do=undo),
)
