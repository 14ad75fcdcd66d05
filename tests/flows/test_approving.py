"""A person's yes: from anybody who may, or only from somebody else than whoever asked for the round."""

from pathlib import Path

import pytest

from db.errors import IllegalMove
from db.repository import releases, rounds, triggers, versions
from flows.reporter import SILENT
from flows.settings import Settings
from flows.steps.approving import approve
from flows.workspace import Workspace, open_workspace


def waiting(monkeypatch: pytest.MonkeyPatch, home: Path, *, differs: bool) -> Workspace:
    """A home with one version that awaits approval; ann asked for its round."""
    monkeypatch.setenv("OMNI_HOME", str(home))
    monkeypatch.setenv("OMNI_DASHBOARD__APPROVER_DIFFERS", str(differs).lower())
    ws = open_workspace(Settings.load(), SILENT)
    with ws.database.write() as session:
        triggers.ask(session, "manual", who="ann", why="new kiosks", now=ws.clock())
        round_, _ = rounds.open_round(
            session, key="k", trigger="manual", base_version=None, config={}, snapshot="s", now=ws.clock()
        )
        triggers.take_trigger(session, now=ws.clock(), round_id=round_.id)
        made = releases.create_candidate(session, round_id=round_.id, parent_version=None, digest="d", now=ws.clock())
        releases.await_approval(session, made.version, who="gate", why="manual", now=ws.clock())
    return ws


def test_whoever_asked_for_the_round_may_not_approve_it_when_that_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = waiting(monkeypatch, tmp_path / "home", differs=True)
    with pytest.raises(IllegalMove, match="ann asked for round 1, which made version 1, and may not approve it"):
        approve(ws, 1, who="ann", why="mine")
    with ws.database.read() as session:
        assert versions.get_release(session, 1).state == "awaiting_approval"
    assert approve(ws, 1, who="bob", why="looked at it").state == "accepted"
    ws.database.close()


def test_the_asker_may_approve_when_nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ws = waiting(monkeypatch, tmp_path / "home", differs=False)
    assert approve(ws, 1, who="ann", why="mine").state == "accepted"
    ws.database.close()
