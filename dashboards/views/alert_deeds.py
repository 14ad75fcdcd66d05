"""What operators do about alerts: take one on, silence some for a time, end a silence."""

from __future__ import annotations

from pydantic import Field

from dashboards.pages import Action, Form, check_seen
from dashboards.site import Deed, Done
from dashboards.views.alerts import MANY, standing, standing_of
from db.repository import alerts, silences, tending
from monitoring.alerting.hiding import is_silenced
from monitoring.matchers import parse, written
from monitoring.silence_words import duration, labels_of


class AckForm(Form):
    """Somebody looks after it."""

    seen: str = Field(max_length=200)
    why: str = Field(default="", max_length=300)


class SilenceForm(Form):
    """What to silence, for how long, and why."""

    matchers: str = Field(min_length=1, max_length=2_000)
    """One a line."""
    length: str = Field(max_length=10)
    why: str = Field(min_length=1, max_length=300)


class EndForm(Form):
    """A silence ends."""

    seen: str = Field(max_length=200)
    why: str = Field(min_length=1, max_length=300)


def acknowledge(deed: Deed, form: AckForm) -> Done:
    """It is not repeated any more; its end is still told."""
    number = int(deed.path["id"])
    with deed.site.database.write() as session:
        check_seen(form.seen, standing(alerts.get(session, number)))
        alert = tending.acknowledge(session, number, who=deed.person.name, why=form.why, now=deed.now)
    return Done(message=f"You look after “{alert.name}” now. It is not repeated; its end is still told.")


def silence(deed: Deed, form: SilenceForm) -> Done:
    """Nobody is told of what matches, for a time."""
    parsed = [parse(line) for line in form.matchers.splitlines() if line.strip()]
    said, ends_at = ", ".join(map(written, parsed)), deed.now + duration(form.length)
    with deed.site.database.write() as session:
        made = tending.silence(
            session, parsed, ends_at=ends_at, who=deed.person.name, why=form.why, written=said, now=deed.now
        )
        open_ = alerts.list_alerts(session, is_open=True, limit=MANY)
    num = sum(is_silenced(labels_of(each.name, each.severity, each.labels), [made.matchers]) for each in open_)
    return Done(message=f"Silenced until {made.ends_at:%Y-%m-%d %H:%M} UTC: {said}. It matches {num} open alerts now.")


def unsilence(deed: Deed, form: EndForm) -> Done:
    """People are told again."""
    number = int(deed.path["id"])
    with deed.site.database.write() as session:
        check_seen(form.seen, standing_of(silences.get(session, number)))
        tending.unsilence(session, number, who=deed.person.name, why=form.why, now=deed.now)
    return Done(message=f"Silence {number} has ended: people are told again.")


PARTS = (
    Action(path="/alerts/{id:int}/acknowledge", role="operator", form=AckForm, do=acknowledge),
    Action(path="/alerts/silence", role="operator", form=SilenceForm, do=silence),
    Action(path="/silences/{id:int}/end", role="operator", form=EndForm, do=unsilence),
)
