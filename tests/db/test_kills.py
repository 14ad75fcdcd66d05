"""A process that is killed around its commit leaves all or nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from db.engine import Database
from db.repository import audit, labels, outbox, releases, rounds
from tests.db.builders import NOW, accepted, add_samples, label, on_probation, open_round

ROOT = Path(__file__).parents[2]

SCRIPT = """
import os, signal, sys
from db.engine import Database
from db.repository import releases
from tests.db.builders import NOW

url, killed_at = sys.argv[1:]

def die(moment):
    if moment == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)

with Database(url, on_commit=die).write() as session:
    releases.rollback(session, 2, who="probation", why="fell", now=NOW)
"""


def roll_back_and_die(url: str, moment: str) -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT, url, moment], cwd=ROOT, capture_output=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()


@pytest.mark.parametrize(("moment", "done"), [("before", False), ("after", True)])
def test_a_kill_leaves_all_of_a_rollback_or_nothing(url: str, moment: str, done: bool) -> None:
    database = Database(url)
    with database.write() as session:
        add_samples(session, "a")
        accepted(session)
        on_probation(session, "second", 1)
        round_ = releases.get_release(session, 2).round_id
        label(session, "a", round_id=round_)
        num_audit, num_messages = len(audit.history(session)), len(outbox.waiting(session))
    roll_back_and_die(url, moment)
    with database.read() as session:
        serving = releases.serving(session)
        assert (serving.version, serving.generation) == ((1, 3) if done else (2, 2))
        assert releases.get_release(session, 2).state == ("rolled_back" if done else "probation")
        assert len(audit.history(session)) == num_audit + done
        assert len(outbox.waiting(session)) == num_messages + 2 * done
        assert round_ is not None
        assert (rounds.get_round(session, round_).quarantined_at is not None) == done
        active = labels.active_label(session, "a")
        assert active is not None
        assert (active.quarantined_at is not None) == done
    if not done:
        with database.write() as session:
            assert releases.rollback(session, 2, who="probation", why="fell", now=NOW).state == "rolled_back"
    database.close()


def test_a_round_that_was_killed_is_found_and_goes_on(url: str) -> None:
    first = Database(url)
    with first.write() as session:
        opened = open_round(session, "killed")
        rounds.advance(session, opened.id, "filtered", {"num_seen": 3}, now=NOW)
    first.close()
    second = Database(url)
    with second.write() as session:
        found = rounds.resume_target(session)
        assert found is not None
        assert (found.key, found.step, found.outputs["filtered"]) == ("killed", "filtered", {"num_seen": 3})
        again, created = rounds.open_round(
            session, key="killed", trigger="manual", base_version=None, config={}, snapshot="", now=NOW
        )
        assert (again.id, created) == (found.id, False)
    second.close()
