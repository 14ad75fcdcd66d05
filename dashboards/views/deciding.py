"""Decisions about a version: approve, reject, end its probation, roll it back, try it on a part of the traffic.

Each looks again inside the transaction that moves: what the page showed must still be so, or nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field
from sqlalchemy.orm import Session

from dashboards.asked import MOST
from dashboards.offers import token
from dashboards.pages import Action, Form, check_seen
from dashboards.site import Deed, Done
from db.errors import NotFound
from db.records import Release
from db.repository import releases, trials, versions
from db.repository.checks import check_another_person
from db.repository.common import hold_the_loop
from db.trials import Mode


class Decision(Form):
    """A reason, and what the page showed."""

    why: str = Field(min_length=1, max_length=300)
    seen: str = Field(min_length=1, max_length=80)


class TrialForm(Decision):
    """How much of the traffic."""

    percent: float = Field(gt=0, le=100)
    """Of the requests, that both versions answer."""


def decision(step: Callable[[Deed, Session, Release, Decision], Done]) -> Callable[[Deed, Decision], Done]:
    """A step in a transaction of its own, in which nobody else moves anything, if the page's picture still holds."""

    def do(deed: Deed, form: Decision) -> Done:
        with deed.site.database.write() as session:
            hold_the_loop(session)
            release = versions.get_release(session, version_of(deed))
            check_seen(form.seen, token(release, versions.serving(session)))
            return step(deed, session, release, form)

    return do


@decision
def approve(deed: Deed, session: Session, release: Release, form: Decision) -> Done:
    """Put it in service: on probation, or for good if it is the first, which has nothing to fall back to."""
    if deed.site.wiring.approver_differs:
        check_another_person(session, release, deed.person.name)
    is_first = versions.last_accepted(session) is None
    moved = releases.promote(
        session, release.version, who=deed.person.name, why=form.why, probation=not is_first, now=deed.now
    )
    return done(moved, f"v{moved.version} is in service" + ("." if is_first else ", on probation."))


@decision
def reject(deed: Deed, session: Session, release: Release, form: Decision) -> Done:
    """Refuse it for good."""
    moved = releases.reject(session, release.version, who=deed.person.name, why=form.why, now=deed.now)
    return done(moved, f"v{moved.version} is rejected. Its round is set aside.")


@decision
def accept(deed: Deed, session: Session, release: Release, form: Decision) -> Done:
    """End its probation well."""
    moved = releases.accept(session, release.version, who=deed.person.name, why=form.why, now=deed.now)
    return done(moved, f"v{moved.version} is accepted. Its probation has ended.")


@decision
def rollback(deed: Deed, session: Session, release: Release, form: Decision) -> Done:
    """Take it back."""
    moved = releases.rollback(session, release.version, who=deed.person.name, why=form.why, now=deed.now)
    serves = versions.serving(session).version
    return done(moved, f"v{moved.version} is rolled back. v{serves} is in service.")


def trial_of(mode: Mode) -> Callable[[Deed, TrialForm], Done]:
    """What starts a trial of one kind."""

    @decision
    def start(deed: Deed, session: Session, release: Release, form: Decision) -> Done:
        assert isinstance(form, TrialForm)
        trial = trials.start(
            session,
            release.version,
            mode=mode,
            share=form.percent / 100,
            who=deed.person.name,
            why=form.why,
            now=deed.now,
        )
        return done(release, f"v{release.version} is on trial: {trial.mode}, {trial.share:.1%} of the requests.")

    return start


def stop(deed: Deed, form: Decision) -> Done:
    """End the trial that the page showed."""
    with deed.site.database.write() as session:
        hold_the_loop(session)
        running = trials.running(session)
        is_ours = running is not None and running.version == version_of(deed)
        check_seen(form.seen, f"trial {running.id}" if running is not None and is_ours else "no trial")
        trials.end(session, who=deed.person.name, outcome="stopped", why=form.why, now=deed.now)
        return done(versions.get_release(session, version_of(deed)), "The trial is stopped.")


def version_of(deed: Deed) -> int:
    """The version that the path names; a number too large for any is not found."""
    version: int = deed.path["version"]
    if version > MOST:
        raise NotFound(f"There is no version {version}. List them at /versions.")
    return version


def done(release: Release, message: str) -> Done:
    """Back to the version's page."""
    return Done(message=message, to=f"/versions/{release.version}")


def _path(what: str) -> str:
    return f"/versions/{{version:int}}/{what}"


PARTS = (
    Action(path=_path("approve"), role="approver", form=Decision, do=approve),
    Action(path=_path("reject"), role="approver", form=Decision, do=reject),
    Action(path=_path("accept"), role="approver", form=Decision, do=accept),
    Action(path=_path("rollback"), role="approver", form=Decision, do=rollback),
    Action(path=_path("canary"), role="operator", form=TrialForm, do=trial_of("canary")),
    Action(path=_path("shadow"), role="operator", form=TrialForm, do=trial_of("shadow")),
    Action(path=_path("stop"), role="operator", form=Decision, do=stop),
)
