"""The data: where it comes from, what could not be read, what is set aside, and a search for samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

from dashboards.asked import MaybeRow
from dashboards.pages import Action, Form, Page, check_seen
from dashboards.site import Deed, Done, Visit
from db.records import Fault, Ingest, StoredSample
from db.records.stock import QuarantinedRound, SourceCount
from db.repository import ingests, rounds, stock, tasks

PER_PAGE = 50


class Sought(BaseModel):
    """Which samples to list."""

    id: str = ""
    """The beginning of the id."""
    domain: str = ""
    task: str = ""
    split: Literal["", "train", "val", "test"] = ""
    after: str = ""

    @property
    def is_search(self) -> bool:
        """Whether anything is sought."""
        return bool(self.id or self.domain or self.task or self.split)


class FaultsAsked(BaseModel):
    """Which faults to list."""

    manifest: str = ""
    before: MaybeRow = None


class LiftForm(Form):
    """Let a round's labels count again."""

    why: str = Field(min_length=1, max_length=300)
    seen: str


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """All data at a glance."""

    sources: list[SourceCount]
    num_samples: int
    num_faults: int
    ingests: list[Ingest]
    rounds: list[QuarantinedRound]
    samples: list[StoredSample]
    """Set aside on their own."""
    reasons: dict[str, str]
    """Why, by sample."""
    found: list[StoredSample]
    next_after: str
    """`after` of the search's next page; empty: this is the last."""
    tasks: list[str]
    asked: Sought


@dataclass(frozen=True, kw_only=True)
class Faults:
    """Rows that could not be read."""

    faults: list[Fault]
    asked: FaultsAsked
    ingest: Ingest | None
    """The manifest that was asked for."""
    next_before: int | None


def holdings(visit: Visit, asked: Sought) -> Holdings:
    """Counts, ingests, quarantine, and what was sought."""
    session = visit.session
    sources = stock.by_source(session)
    aside = stock.quarantined_samples(session)
    found: list[StoredSample] = []
    if asked.is_search:
        found = stock.search(
            session,
            id_=asked.id,
            domain=asked.domain,
            task=asked.task,
            split=asked.split,
            after=asked.after,
            limit=PER_PAGE + 1,
        )
    return Holdings(
        sources=sources,
        num_samples=sum(row.num_train + row.num_val + row.num_test for row in sources),
        num_faults=stock.count_faults(session),
        ingests=ingests.list_ingests(session, limit=20),
        rounds=stock.quarantined_rounds(session),
        samples=aside,
        reasons=stock.reasons(session, [sample.id for sample in aside]),
        found=found[:PER_PAGE],
        next_after=found[PER_PAGE - 1].id if len(found) > PER_PAGE else "",
        tasks=[task.name for task in tasks.list_tasks(session)],
        asked=asked,
    )


def faults(visit: Visit, asked: FaultsAsked) -> Faults:
    """The latest faults, of one manifest if it is named."""
    manifest = asked.manifest or None
    found = ingests.latest_faults(visit.session, manifest=manifest, before=asked.before, limit=PER_PAGE + 1)
    more = len(found) > PER_PAGE
    return Faults(
        faults=found[:PER_PAGE],
        asked=asked,
        ingest=ingests.get_ingest(visit.session, asked.manifest) if asked.manifest else None,
        next_before=found[PER_PAGE - 1].id if more else None,
    )


def lift(deed: Deed, form: LiftForm) -> Done:
    """A person found the data of a round to be good."""
    number = int(deed.path["number"])
    with deed.site.database.write() as session:
        check_seen(form.seen, since(rounds.get_round(session, number).quarantined_at))
        rounds.lift_quarantine(session, number, who=deed.person.name, why=form.why, now=deed.now)
    return Done(message=f"The labels of round {number} count again.", to="/data")


def since(moment: object) -> str:
    """A quarantine in words that change when it does.

    >>> since(None)
    'not in quarantine'
    """
    return "not in quarantine" if moment is None else f"in quarantine since {moment}"


PARTS = (
    Page(path="/data", title="Data", template="data.html", build=holdings, asks=Sought, topics=("labels", "versions")),
    Page(
        path="/data/faults",
        title="Rows that could not be read",
        template="data_faults.html",
        build=faults,
        asks=FaultsAsked,
    ),
    Action(path="/data/rounds/{number:int}/lift", role="admin", form=LiftForm, do=lift),
)
