"""All rounds: what each came to, what waits for one, and asking for one now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from dashboards.asked import MaybeRow
from dashboards.pages import Action, Form, Page, check_seen
from dashboards.site import Deed, Done, Site, Visit
from dashboards.views.overview import BEGAN, NEXT
from db.records import Release, Round, Trigger
from db.repository import round_lists, rounds, triggers, versions

PER_PAGE = 30
ALIVE_S = 60.0
"""Seconds since its last sign after which the pulse is taken to be gone; it gives one every few seconds."""


WITHDRAWAL = (
    "No round answers this request. One that is open goes on. What a watch asked for may be asked for again when new "
    "data still call for it."
)


class Asked(BaseModel):
    """Which rounds to show."""

    before: MaybeRow = None
    """Only rounds with smaller numbers: the next page."""


class AskForm(Form):
    """A round is wanted now."""

    why: str = Field(min_length=1, max_length=300)
    seen: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """One round of the list."""

    id: int
    trigger: str
    began: str
    base_version: int | None
    step: str
    does: str
    """What it does now; empty for one that has ended."""
    outcome: str
    """`open` while it runs."""
    num_labels: int
    num_asked: int
    release: Release | None
    is_quarantined: bool
    opened_at: datetime
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """A page of rounds, the latest first."""

    lines: list[Line]
    waiting: list[Trigger]
    withdrawal: str
    """What withdrawing one of them will do."""
    effect: str
    """What asking for a round now will do."""
    seen: str
    pulse: str
    """Why nothing would start a round by itself; empty while the pulse runs."""
    next_before: int | None


def list_all(visit: Visit, asked: Asked) -> Rounds:
    """Rounds with their labels and versions; the number of queries does not depend on how many there are."""
    session = visit.session
    found = rounds.list_rounds(session, before=asked.before, limit=PER_PAGE + 1)
    shown = found[:PER_PAGE]
    ids = [round_.id for round_ in shown]
    labels, made = round_lists.labels_of(session, ids), round_lists.releases_of(session, ids)
    current, pulse = rounds.resume_target(session), why_nothing_starts(visit.site, visit.now)
    base = versions.last_accepted(session)
    return Rounds(
        lines=[line(round_, labels.get(round_.id, (0, 0)), made.get(round_.id), visit.now) for round_ in shown],
        waiting=triggers.pending(session),
        withdrawal=WITHDRAWAL,
        effect=effect_of_asking(current, base, pulse),
        seen=standing(current),
        pulse=pulse,
        next_before=shown[-1].id if len(found) > PER_PAGE else None,
    )


def line(round_: Round, labels: tuple[int, int], release: Release | None, now: datetime) -> Line:
    """One round as the list shows it."""
    return Line(
        id=round_.id,
        trigger=round_.trigger,
        began=BEGAN.get(round_.trigger, f"begun by {round_.trigger}"),
        base_version=round_.base_version,
        step=round_.step,
        does=NEXT[round_.step] if round_.is_open else "",
        outcome=round_.outcome or "open",
        num_labels=labels[0],
        num_asked=labels[1],
        release=release,
        is_quarantined=round_.quarantined_at is not None,
        opened_at=round_.opened_at,
        duration_s=((round_.closed_at or now) - round_.opened_at).total_seconds(),
    )


def standing(current: Round | None) -> str:
    """What somebody who asks for a round has seen."""
    return "no round is open" if current is None else f"round {current.id} is open"


def effect_of_asking(current: Round | None, base: Release | None, pulse: str) -> str:
    """What will happen when somebody asks for a round now."""
    if current is not None:
        return (
            f"Round {current.id} is open ({NEXT[current.step]}). Your request waits; the next round answers it. {pulse}"
        )
    begins = (
        "It trains the first version from all that is labelled."
        if base is None
        else f"It starts from v{base.version}, the version accepted last: it chooses samples to label, and waits for "
        "the labels before it trains."
    )
    starts = pulse or "The pulse starts it within seconds."
    return f"{begins} {starts} If the same data has had its round already, the request waits for something new."


def why_nothing_starts(site: Site, now: datetime) -> str:
    """Why a request would lie there; empty while the pulse gives signs of life."""
    mend = "Start `omniloop up`, or run `omniloop retrain` at a terminal; until then the request waits."
    try:
        age_s = now.timestamp() - (site.wiring.home / "up" / "pulse.alive").stat().st_mtime
    except OSError:
        return f"The pulse, which starts rounds, does not run here. {mend}"
    if age_s > ALIVE_S:
        return f"The pulse, which starts rounds, has given no sign for {age_s / 60:,.0f} minutes. {mend}"
    return ""


def ask(deed: Deed, form: AskForm) -> Done:
    """Leave a request, which the pulse answers with a round."""
    with deed.site.database.write() as session:
        check_seen(form.seen, seen_now(session))
        trigger = triggers.ask(session, "manual", who=deed.person.name, why=form.why, now=deed.now)
    told = "A round is asked for." if trigger.num_requests == 1 else "Your request joined one that waits already."
    return Done(message=f"{told} {why_nothing_starts(deed.site, deed.now)}".strip(), to="/rounds")


def withdraw(deed: Deed, form: AskForm) -> Done:
    """Take a request back that waits."""
    number = int(deed.path["request"])
    with deed.site.database.write() as session:
        trigger = triggers.get(session, number)
        if trigger.taken_at is None:
            check_seen(form.seen, asked_for(trigger))
        triggers.withdraw(session, number, who=deed.person.name, why=form.why, now=deed.now)
    return Done(message=f"The request ({trigger.kind.replace('_', ' ')}) is withdrawn.", to="/rounds")


def asked_for(trigger: Trigger) -> str:
    """What somebody who withdraws a request has seen."""
    return f"asked for {trigger.num_requests} times"


def seen_now(session: Session) -> str:
    """What `standing` says now."""
    return standing(rounds.resume_target(session))


PARTS = (
    Page(
        path="/rounds", title="Rounds", template="rounds.html", build=list_all, asks=Asked, topics=("rounds", "labels")
    ),
    Action(path="/rounds/ask", role="operator", form=AskForm, do=ask),
    Action(path="/rounds/requests/{request:int}/withdraw", role="operator", form=AskForm, do=withdraw),
)
