"""Deliveries: what was told to whom, what was given up on and is tried again, and a test of a receiver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, Field

from dashboards.asked import MaybeRow
from dashboards.pages import Action, Form, Page, check_seen
from dashboards.problems import Problem
from dashboards.site import Deed, Done, Visit
from db.records.deliveries import Delivery
from db.repository import deliveries, tending

PER_PAGE = 50


class Asked(BaseModel):
    """Which part of the list."""

    before: MaybeRow = None


class RetryForm(Form):
    """Once more."""

    seen: str = Field(max_length=200)
    why: str = Field(min_length=1, max_length=300)


class TestForm(Form):
    """Whom to test."""

    receiver: str = Field(min_length=1, max_length=80)


@dataclass(frozen=True, kw_only=True)
class Deliveries:
    """The page."""

    notices: list[Delivery]
    next_before: int | None
    dead: list[Delivery]
    num_waiting: int
    receivers: Mapping[str, str]
    asked: Asked


def overview(visit: Visit, asked: Asked) -> Deliveries:
    """Notices, the latest first, and all that were given up on."""
    found = deliveries.latest(visit.session, before=asked.before, limit=PER_PAGE + 1)
    return Deliveries(
        notices=found[:PER_PAGE],
        next_before=found[PER_PAGE - 1].id if len(found) > PER_PAGE else None,
        dead=deliveries.dead(visit.session),
        num_waiting=deliveries.num_waiting(visit.session),
        receivers=dict(visit.site.wiring.receivers),
        asked=asked,
    )


def standing(delivery: Delivery) -> str:
    """A notice in words that change when it is tried again."""
    return f"{delivery.state} after {delivery.attempts} attempts"


def retry(deed: Deed, form: RetryForm) -> Done:
    """A notice that was given up on is tried from the start."""
    number = int(deed.path["id"])
    with deed.site.database.write() as session:
        check_seen(form.seen, standing(deliveries.get(session, number)))
        tending.retry(session, [number], who=deed.person.name, why=form.why, now=deed.now)
    return Done(message=f"Notice {number} is tried again within seconds, if Omniloop runs.", to="/alerts/deliveries")


def test(deed: Deed, form: TestForm) -> Done:
    """A test notice is left for the pulse, which has the addresses; this process does not."""
    known = deed.site.wiring.receivers
    if form.receiver not in known:
        raise Problem(422, f"There is no receiver {form.receiver!r}; there are {', '.join(known)}. Choose one of them.")
    with deed.site.database.write() as session:
        tending.leave_test(session, form.receiver, who=deed.person.name, now=deed.now)
    message = f"A test for {form.receiver} is on its way. What becomes of it is shown below."
    return Done(message=message, to="/alerts/deliveries")


PARTS = (
    Page(
        path="/alerts/deliveries",
        title="Deliveries",
        template="deliveries.html",
        build=overview,
        asks=Asked,
        topics=("alerts", "audit", "measurements", "deliveries"),
    ),
    Action(path="/alerts/deliveries/{id:int}/retry", role="operator", form=RetryForm, do=retry),
    Action(path="/alerts/test", role="operator", form=TestForm, do=test),
)
