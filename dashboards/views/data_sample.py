"""One sample: what it is, how it was labelled, where it was used, who has learnt it, and its deletion."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, Field

from dashboards.pages import Action, Form, Page, check_seen
from dashboards.samples import ShownSample, shown
from dashboards.site import Deed, Done, Visit
from dashboards.views.data import since
from dashboards.views.labels_contested import one_sample
from db.forgetting import forget_sample
from db.records import AuditEntry, Disagreement, Label, Prediction, StoredSample
from db.records.stock import Membership
from db.repository import audit, deletion, disagreements, labels, samples, stock


class Named(BaseModel):
    """Which sample."""

    id: str


class SampleForm(Form):
    """Something done with one sample, and why."""

    id: str
    why: str = Field(min_length=1, max_length=300)
    seen: str


@dataclass(frozen=True, kw_only=True)
class Story:
    """Everything that is remembered of a sample."""

    sample: StoredSample
    shown: ShownSample
    labels: list[Label]
    """Oldest first; the one in force is the last, if any is."""
    memberships: list[Membership]
    predictions: list[Prediction]
    trained_versions: list[int]
    derived_versions: list[int]
    contested: list[Disagreement]
    """Open disagreements."""
    trail: list[AuditEntry]

    @property
    def seen(self) -> str:
        """What a decision about the sample rests on."""
        return standing(self.sample)


def story(visit: Visit, asked: Named) -> Story:
    """All of it. `NotFound` if there is no such sample."""
    session = visit.session
    sample = one_sample(samples.get(session, [asked.id]), asked.id)
    trained, derived = deletion.carriers(session, sample.id)
    return Story(
        sample=sample,
        shown=shown(visit.site, [sample])[0],
        labels=labels.label_history(session, sample.id),
        memberships=stock.memberships(session, sample.id),
        predictions=stock.predictions_of(session, sample.id),
        trained_versions=trained,
        derived_versions=derived,
        contested=disagreements.list_disagreements(session, sample_ids=[sample.id]),
        trail=audit.newest(session, subject="sample", subject_id=sample.id, limit=50),
    )


def delete(deed: Deed, form: SampleForm) -> Done:
    """Forget the sample, its bytes too, and say which versions have learnt it."""
    with deed.site.database.read() as session:
        check_seen(form.seen, standing(one_sample(samples.get(session, [form.id]), form.id)))
    site = deed.site
    gone = forget_sample(site.database, site.blobs, form.id, who=deed.person.name, why=form.why, now=deed.now)
    counts = f"{gone.num_labels} labels, {gone.num_predictions} answers and {len(gone.blobs)} files"
    carried = learnt(gone.trained_versions, gone.derived_versions)
    return Done(message=f"{form.id} is deleted, with {counts}. {carried}", to="/data")


def set_aside(deed: Deed, form: SampleForm) -> Done:
    """Keep the sample out of selection and training."""
    with deed.site.database.write() as session:
        check_seen(form.seen, standing(one_sample(samples.get(session, [form.id]), form.id)))
        stock.set_aside(session, form.id, who=deed.person.name, why=form.why, now=deed.now)
    return Done(message=f"{form.id} is in quarantine.")


def take_back(deed: Deed, form: SampleForm) -> Done:
    """Use the sample again."""
    with deed.site.database.write() as session:
        check_seen(form.seen, standing(one_sample(samples.get(session, [form.id]), form.id)))
        stock.take_back(session, form.id, who=deed.person.name, why=form.why, now=deed.now)
    return Done(message=f"{form.id} may be used again.")


def standing(sample: StoredSample) -> str:
    """What is decided on, in words that change when it does."""
    return since(sample.quarantined_at)


def learnt(trained: tuple[int, ...], derived: tuple[int, ...]) -> str:
    """Who carries a sample in their weights.

    >>> learnt((2,), (3, 4)), learnt((), ())
    ('Weights do not forget: v2 learnt it; v3, v4 descend from those.', 'No version has learnt it.')
    """
    if not trained:
        return "No version has learnt it."
    names = ", ".join(f"v{version}" for version in trained)
    after = f"; {', '.join(f'v{version}' for version in derived)} descend from those" if derived else ""
    return f"Weights do not forget: {names} learnt it{after}."


PARTS = (
    Page(
        path="/data/sample",
        title="Sample",
        template="data_sample.html",
        build=story,
        asks=Named,
        topics=("labels", "audit"),
    ),
    Action(path="/data/sample/delete", role="admin", form=SampleForm, do=delete),
    Action(path="/data/sample/quarantine", role="admin", form=SampleForm, do=set_aside),
    Action(path="/data/sample/lift", role="admin", form=SampleForm, do=take_back),
)
