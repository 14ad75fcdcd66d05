"""What is checked before a release moves."""

from __future__ import annotations

from sqlalchemy.orm import Session

from db.errors import GenerationMoved, IllegalMove
from db.records import Release
from db.releases import State, describe_moves, is_allowed
from db.repository import triggers
from db.repository.rounds import get_round
from db.repository.versions import get_release, last_accepted, on_probation, serving


def check_move(release: Release, target: State) -> None:
    """`IllegalMove` unless the table of moves allows it."""
    if not is_allowed(release.state, target):
        raise IllegalMove(refusal(release, target))


def refusal(release: Release, target: State) -> str:
    """Why a release cannot go there."""
    return (
        f"Version {release.version} is {release.state} and cannot become {target}. "
        f"Allowed from here: {describe_moves(release.state)}."
    )


def check_generation(session: Session, expected: int | None) -> None:
    """`GenerationMoved` if something is expected and what is in service has changed since."""
    now = serving(session).generation
    if expected is not None and now != expected:
        raise GenerationMoved(
            f"What is in service has changed: generation {now}, expected {expected}. Look again and decide anew."
        )


def check_way_is_free(session: Session, release: Release) -> None:
    """`IllegalMove` if the version must not enter service now: another is on probation, or its data are tainted."""
    tainted = release.round_id is not None and get_round(session, release.round_id).quarantined_at is not None
    why = hindrance(
        release,
        on_probation=on_probation(session),
        parent=None if release.parent_version is None else get_release(session, release.parent_version),
        newest=last_accepted(session),
        is_tainted=tainted,
    )
    if why:
        raise IllegalMove(why)


def check_another_person(session: Session, release: Release, who: str) -> None:
    """`IllegalMove` if `who` asked for the round that the version came of: somebody else must approve it."""
    if release.round_id is not None and who in triggers.asked_by(session, release.round_id):
        raise IllegalMove(same_person(release, who))


def same_person(release: Release, who: str) -> str:
    """Why somebody may not approve what came of a round of their own."""
    return (
        f"{who} asked for round {release.round_id}, which made version {release.version}, and may not approve it: "
        "OMNI_DASHBOARD__APPROVER_DIFFERS is on. Ask another approver."
    )


def hindrance(
    release: Release, *, on_probation: Release | None, parent: Release | None, newest: Release | None, is_tainted: bool
) -> str:
    """What keeps a version out of service now, in words; empty if nothing does. `newest`: the one accepted last."""
    if on_probation is not None and on_probation.version != release.version:
        return (
            f"Version {release.version} cannot be promoted while version {on_probation.version} is on probation. "
            f"Wait for its end, or accept or roll back version {on_probation.version}."
        )
    if is_tainted:
        return (
            f"Version {release.version} learnt from round {release.round_id}, which is in quarantine. "
            f"Reject version {release.version}, or lift the quarantine first."
        )
    if parent is None:
        return ""
    if parent.state != "accepted":
        return (
            f"Version {release.version} descends from version {parent.version}, which is {parent.state}. "
            f"Reject version {release.version} and start a round from the last accepted version."
        )
    if newest is not None and newest.version != parent.version:
        return (
            f"Version {release.version} was made from, and compared with, version {parent.version}, but version "
            f"{newest.version} has been accepted since. Reject version {release.version} and start a new round."
        )
    return ""
