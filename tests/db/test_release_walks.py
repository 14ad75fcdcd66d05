"""Random walks through every move, legal or not. After each step the promises of the state machine are looked up."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
from sqlalchemy.orm import Session

from db.engine import Database
from db.errors import IllegalMove
from db.records import Serving
from db.releases import BLAMED, SERVABLE, is_allowed
from db.repository import audit, outbox, releases, rounds, samples
from tests.db.builders import NOW, add_samples, label

NUM_STEPS = 70

MOVES = ("candidate", "reject", "await_approval", "promote", "promote at once", "accept", "rollback")


def take_step(session: Session, move: str, version: int, step: int) -> None:
    """One move; raises `IllegalMove` where it is not allowed."""
    given = {"who": "walker", "why": f"step {step}", "now": NOW}
    if move == "candidate":
        add_candidate(session, step)
    elif move == "promote at once":
        releases.promote(session, version, probation=False, who="walker", why="", now=NOW)
    elif move == "promote":
        releases.promote(session, version, who="walker", why="", now=NOW)
    else:
        functions = {
            "reject": releases.reject,
            "await_approval": releases.await_approval,
            "accept": releases.accept,
            "rollback": releases.rollback,
        }
        functions[move](session, version, who="walker", why=str(given["why"]), now=NOW)


def add_candidate(session: Session, step: int) -> None:
    """A round of its own, with a label, from the last accepted version."""
    base = releases.last_accepted(session)
    parent = None if base is None else base.version
    round_, _ = rounds.open_round(
        session, key=str(step), trigger="manual", base_version=parent, config={}, snapshot="", now=NOW
    )
    add_samples(session, f"s{step}")
    label(session, f"s{step}", round_id=round_.id)
    releases.create_candidate(session, round_id=round_.id, parent_version=parent, digest="d", now=NOW)
    rounds.close(session, round_.id, "registered", now=NOW)


def count_traces(session: Session) -> tuple[int, int]:
    """(lines of audit, messages)."""
    return len(audit.history(session)), len(outbox.waiting(session))


def check_promises(session: Session, before: Serving) -> Serving:
    """What must hold after every step; returns what is in service."""
    found = {release.version: release for release in releases.history(session)}
    assert list(found) == list(range(1, len(found) + 1))
    states = Counter(release.state for release in found.values())
    assert states["probation"] <= 1
    serving = releases.serving(session)
    if serving.version is not None:
        assert found[serving.version].state in SERVABLE
    if states["probation"]:
        assert serving.version is not None
        assert found[serving.version].state == "probation"
    if serving.previous_version is not None:
        assert found[serving.previous_version].state == "accepted"
    last = releases.last_accepted(session)
    assert (last is None) == (states["accepted"] == 0)
    assert last is None or last.state == "accepted"
    assert serving.generation - before.generation in (0, 1)
    assert (serving.generation == before.generation) == (serving.version == before.version)
    learnt_from = {entry.label.round_id for entry in samples.labelled(session, "train")}
    blamed = {release.round_id for release in found.values() if release.state in BLAMED}
    assert not learnt_from & blamed
    return serving


def check_trail(session: Session) -> None:
    """Each version's lines form one chain of allowed moves that ends in its state."""
    for release in releases.history(session):
        line = audit.history(session, subject="release", version=release.version)
        assert line[0].from_state is None
        assert all(one.to_state == two.from_state for one, two in pairwise(line))
        assert all(is_allowed(entry.from_state, entry.to_state) for entry in line[1:])  # type: ignore[arg-type]
        assert line[-1].to_state == release.state


@pytest.mark.parametrize("seed", range(4))
def test_no_walk_breaks_a_promise(database: Database, seed: int) -> None:
    rng = random.Random(seed)
    made = Counter[str]()
    with database.read() as session:
        serving = releases.serving(session)
    for step in range(NUM_STEPS):
        with database.write() as session:
            newest = len(releases.history(session))
            move = rng.choice(MOVES) if newest else "candidate"
            version = rng.randint(max(1, newest - 3), max(1, newest))
            num_audit, num_messages = count_traces(session)
            try:
                take_step(session, move, version, step)
            except IllegalMove:
                assert count_traces(session) == (num_audit, num_messages)
                assert releases.serving(session) == serving
            else:
                made[move] += 1
                assert count_traces(session) == (num_audit + 1, num_messages + (1 if move == "candidate" else 2))
            serving = check_promises(session, serving)
    with database.read() as session:
        check_trail(session)
    assert len(made) >= 5, f"the walk hardly moved: {made}"
