"""What is checked before a release moves."""

from __future__ import annotations

from sqlalchemy.orm import Session

from db.errors import GenerationMoved, IllegalMove
from db.records import Release
from db.releases import State, describe_moves, is_allowed
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
    other = on_probation(session)
    if other is not None and other.version != release.version:
        raise IllegalMove(
            f"Version {release.version} cannot be promoted while version {other.version} is on probation. "
            f"Wait for its end, or accept or roll back version {other.version}."
        )
    if release.round_id is not None and get_round(session, release.round_id).quarantined_at is not None:
        raise IllegalMove(
            f"Version {release.version} learnt from round {release.round_id}, which is in quarantine. "
            f"Reject version {release.version}, or lift the quarantine first."
        )
    if release.parent_version is None:
        return
    parent = get_release(session, release.parent_version)
    if parent.state != "accepted":
        raise IllegalMove(
            f"Version {release.version} descends from version {parent.version}, which is {parent.state}. "
            f"Reject version {release.version} and start a round from the last accepted version."
        )
    newest = last_accepted(session)
    if newest is not None and newest.version != parent.version:
        raise IllegalMove(
            f"Version {release.version} was made from, and compared with, version {parent.version}, but version "
            f"{newest.version} has been accepted since. Reject version {release.version} and start a new round."
        )
