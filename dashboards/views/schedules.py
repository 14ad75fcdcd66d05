"""What starts by the clock: real Prefect schedules, the same that `omniloop schedule` shows, and what they have run."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator
from pydantic_core import to_json
from starlette.responses import Response

from dashboards.pages import Action, File, Form, Nothing, Page, check_seen
from dashboards.prefect import Planned, Prefect, PrefectGone, Run, found
from dashboards.site import Deed, Done, Visit
from dashboards.views.schedules_times import ZONES, Reading, reading, told_to_prefect
from db.repository import audit

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
DOES = {
    "retrain": "a round of the loop",
    "report": "a report on the last day",
    "watch": "a look at the live measures",
    "baseline": "a new baseline of the live measures",
    "fit-selector": "the learned selector, fitted anew",
}


class When(BaseModel):
    """A schedule that somebody is about to make."""

    cron: str = Field(default="", max_length=100)
    every: str = Field(default="", max_length=20)
    time_zone: str = Field(default="UTC", max_length=60)

    @field_validator("cron", "every", "time_zone")
    @classmethod
    def trimmed(cls, value: str) -> str:
        """Without surrounding blanks."""
        return value.strip()


class AddForm(Form, When):
    """A schedule to make."""

    name: str = Field(min_length=1, max_length=60)
    flow: str
    why: str = Field(min_length=1, max_length=300)

    @field_validator("name")
    @classmethod
    def plain(cls, value: str) -> str:
        """A name that a command line takes as it is."""
        if not NAME.fullmatch(value):
            raise ValueError(
                f"A schedule's name is made of a-z, 0-9 and single dashes, got {value!r}. Write nightly-1."
            )
        return value


class OneForm(Form):
    """Something done with one schedule."""

    name: str
    why: str = Field(min_length=1, max_length=300)
    seen: str


class SwitchForm(OneForm):
    """Paused, or let go on."""

    to: Literal["paused", "active"]


@dataclass(frozen=True, kw_only=True)
class ShownSchedule:
    """A schedule as the page shows it."""

    name: str
    flow: str
    does: str
    words: str
    time_zone: str
    active: bool
    next_runs: list[datetime]
    """Empty while it is paused."""
    seen: str


@dataclass(frozen=True, kw_only=True)
class Schedules:
    """Everything on the page."""

    problem: str
    """Why Prefect says nothing; empty while it answers."""
    pages: str
    """Where Prefect's own pages are; empty if unknown."""
    flows: dict[str, str]
    """The flows that may be started by the clock, and what each does."""
    schedules: list[ShownSchedule]
    runs: list[Run]
    zones: list[str]


def schedules(visit: Visit, asked: Nothing) -> Schedules:
    """What Prefect has; the page stays when Prefect is gone."""
    empty = Schedules(problem="", pages="", flows={}, schedules=[], runs=[], zones=list(ZONES))
    try:
        prefect = found(visit.site.wiring)
        deployments = prefect.deployments()
        return replace(
            empty,
            pages=prefect.pages,
            flows={flow: DOES.get(flow, "another flow") for flow in deployments},
            schedules=[shown(each, visit.now) for each in prefect.schedules()],
            runs=prefect.runs(),
        )
    except PrefectGone as gone:
        return replace(empty, problem=str(gone))


def shown(planned: Planned, now: datetime) -> ShownSchedule:
    """A schedule in words."""
    told = reading(planned.schedule, now)
    return ShownSchedule(
        name=planned.name,
        flow=planned.flow,
        does=DOES.get(planned.flow, "another flow"),
        words=told.words,
        time_zone=str(planned.schedule.get("timezone") or "UTC"),
        active=planned.active,
        next_runs=told.next_runs if planned.active else [],
        seen=standing(planned),
    )


def standing(planned: Planned) -> str:
    """What a decision about a schedule rests on."""
    schedule = planned.schedule
    when = schedule.get("cron") or schedule.get("interval") or schedule.get("rrule")
    return f"{planned.flow} at {when} {schedule.get('timezone') or 'UTC'}, {'active' if planned.active else 'paused'}"


def preview(visit: Visit, asked: When) -> Response:
    """The reading and the next times of what somebody types, or what is wrong with it."""
    told: dict[str, Any]
    try:
        made: Reading = reading(told_to_prefect(asked.cron, asked.every, asked.time_zone, visit.now), visit.now)
        next_runs = [f"{at:%a %Y-%m-%d %H:%M %Z}" for at in made.next_runs]
        told = {"words": made.words, "time_zone": asked.time_zone, "next": next_runs, "problem": ""}
    except ValueError as error:
        told = {"words": "", "time_zone": asked.time_zone, "next": [], "problem": str(error)}
    return Response(to_json(told), media_type="application/json", headers={"Cache-Control": "no-store"})


def add(deed: Deed, form: AddForm) -> Done:
    """Start a flow by the clock from now on."""
    wanted, prefect = told_to_prefect(form.cron, form.every, form.time_zone, deed.now), found(deed.site.wiring)
    deployments = prefect.deployments()
    if form.flow not in deployments:
        known = ", ".join(deployments) or "none yet: start `omniloop up` once"
        raise ValueError(f"There is no flow {form.flow!r} to start by the clock. There are {known}.")
    if any(each.name == form.name for each in prefect.schedules()):
        raise ValueError(f"There is a schedule {form.name!r} already. Choose another name, or remove it first.")
    prefect.add(deployments[form.flow], form.name, wanted)
    told = reading(wanted, deed.now)
    note(deed, "add", form.name, form.why, {"flow": form.flow, "when": told.words, "time_zone": form.time_zone})
    return Done(message=f"{form.name} starts {form.flow}: {told.words} ({form.time_zone}).", to="/schedules")


def switch(deed: Deed, form: SwitchForm) -> Done:
    """Let a schedule fire no more for a while, or again."""
    prefect, planned = one(deed, form)
    prefect.switch(planned, active=form.to == "active")
    note(deed, "pause" if form.to == "paused" else "resume", form.name, form.why, {"flow": planned.flow})
    return Done(message=f"{form.name} is {form.to}.", to="/schedules")


def remove(deed: Deed, form: OneForm) -> Done:
    """Forget a schedule."""
    prefect, planned = one(deed, form)
    prefect.remove(planned)
    note(deed, "remove", form.name, form.why, {"flow": planned.flow, "was": standing(planned)})
    return Done(message=f"{form.name} is removed.", to="/schedules")


def run_now(deed: Deed, form: OneForm) -> Done:
    """Start what a schedule starts, once, beside its times."""
    prefect, planned = one(deed, form)
    asked_by = {"trigger": "manual", "who": deed.person.name} if planned.flow == "retrain" else {}
    run = prefect.start(planned.deployment_id, {**planned.parameters, **asked_by})
    note(deed, "run", form.name, form.why, {"flow": planned.flow, "run": run})
    return Done(
        message=f"{planned.flow} is started as {run!r}. If one runs already, Prefect cancels this one.", to="/schedules"
    )


def one(deed: Deed, form: OneForm) -> tuple[Prefect, Planned]:
    """Prefect and the schedule as it is now. `ValueError` if it is gone, `IllegalMove` if it has changed."""
    prefect = found(deed.site.wiring)
    known = {each.name: each for each in prefect.schedules()}
    if form.name not in known:
        raise ValueError(f"There is no schedule {form.name!r} any more. There are {', '.join(known) or 'none'}.")
    check_seen(form.seen, standing(known[form.name]))
    return prefect, known[form.name]


def note(deed: Deed, action: str, name: str, why: str, numbers: dict[str, Any]) -> None:
    """The line in the audit trail."""
    told: dict[str, Any] = {"who": deed.person.name, "action": action, "subject": "schedule", "subject_id": name}
    with deed.site.database.write() as session:
        audit.add(session, **told, why=why, numbers=numbers, now=deed.now)


PARTS = (
    Page(path="/schedules", title="Schedules", template="schedules.html", build=schedules, topics=("rounds", "audit")),
    File(path="/schedules/preview.json", fetch=preview, asks=When),
    Action(path="/schedules/add", role="operator", form=AddForm, do=add),
    Action(path="/schedules/switch", role="operator", form=SwitchForm, do=switch),
    Action(path="/schedules/remove", role="operator", form=OneForm, do=remove),
    Action(path="/schedules/run", role="operator", form=OneForm, do=run_now),
)
