"""Which rules are in force, that they change at run time, and where notices say to look."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.engine import Database
from db.repository import alerts, audit
from flows.pages import known_address
from flows.settings import Settings
from flows.steps.ruling import read_rules, reset_rules, save_rules, text_in_force
from flows.steps.telling import page_of
from flows.workspace import Workspace, open_workspace
from monitoring.alerting import rule_file
from monitoring.alerting.reading import RulesError, default_text, parse_rules
from tests.flows.rules.turns import RULES

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Workspace:
    """An empty home."""
    return open_workspace(Settings.load(home=tmp_path / "home"))


def test_saved_rules_are_in_force_at_the_next_look_and_the_text_before_is_kept(home: Workspace) -> None:
    assert read_rules(home) == parse_rules(default_text())
    save_rules(home, RULES, who="ann", why="mine")
    assert read_rules(home) == parse_rules(RULES)
    assert reset_rules(home, who="ann", why="enough")
    assert read_rules(home) == parse_rules(default_text())
    assert not reset_rules(home, who="ann", why="again")
    with home.database.read() as session:
        last, first = audit.newest(session, subject="rules")
    assert (first.action, last.action) == ("saved", "reset")
    assert home.blobs.get(first.numbers["before"]).decode() == default_text()
    assert home.blobs.get(last.numbers["before"]).decode().strip() == RULES.strip()
    home.database.close()


def test_rules_with_a_fault_are_not_saved(home: Workspace) -> None:
    with pytest.raises(RulesError, match="metric"):
        save_rules(home, RULES.replace("metric: accuracy", "metric: nothing"), who="ann", why="x")
    assert text_in_force(home).path is None
    home.database.close()


def test_a_file_that_the_settings_name_comes_first_and_is_not_changed(home: Workspace, tmp_path: Path) -> None:
    named = tmp_path / "named.yaml"
    named.write_text(default_text() + "# mine\n")
    alerting = {"rules": str(named)}
    ws = home.with_(settings=Settings.load(home=home.home, alerting=alerting))
    (home.home / "rules.yaml").write_text(RULES)
    assert text_in_force(ws).path == named
    with pytest.raises(ValueError, match="Change that file"):
        save_rules(ws, RULES, who="ann", why="x")
    assert named.read_text().endswith("# mine\n")
    home.database.close()


def test_notices_name_the_alert_s_page_where_there_are_pages(home: Workspace) -> None:
    database: Database = home.database
    with database.write() as session:
        alert = alerts.raise_alert(
            session, "x", name="n", severity="info", summary="s", page="omniloop rules list", now=NOW
        )
        other = alerts.raise_alert(
            session, "y", name="n", severity="info", summary="s", page="https://wiki.example/n", now=NOW
        )
    assert known_address(home.settings) == ""
    assert page_of(alert, "") == "omniloop rules list"
    (home.home / "up").mkdir(exist_ok=True)
    (home.home / "up" / "dashboard.json").write_text(json.dumps({"port": 8799}))
    base = known_address(home.settings)
    assert page_of(alert, base) == f"http://127.0.0.1:8799/alerts/{alert.id}"
    assert page_of(other, base) == "https://wiki.example/n"
    public = {"is_https": True, "names": ["loop.example.org"]}
    assert known_address(Settings.load(home=home.home, dashboard=public)) == "https://loop.example.org"
    database.close()


def test_a_file_that_cannot_be_changed_leaves_no_line_in_the_trail(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rule_file, "save", full)
    with pytest.raises(OSError, match="No space"):
        save_rules(home, text_in_force(home).text, who="ann", why="stricter")
    with home.database.read() as session:
        assert audit.history(session, subject="rules") == []
