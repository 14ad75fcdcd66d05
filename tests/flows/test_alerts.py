"""The command line of alerts: what is open, who looks after it, what is silenced, and whether notices arrive."""

import json
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from db.records import Alert
from db.repository import alerts, audit, notifications, outbox, silences
from flows.cli import main
from flows.reporter import SILENT
from flows.settings import Settings
from flows.steps.silencing import silence
from flows.workspace import Workspace, open_workspace
from monitoring.silence_words import duration
from tests.flows.receivers import Hook, free_port
from tests.flows.terminals import widen

Run = Callable[..., str]


@pytest.fixture
def hook() -> Iterator[Hook]:
    receiver = Hook()
    receiver.start()
    yield receiver
    receiver.stop()


@pytest.fixture
def ws(small: Path, monkeypatch: pytest.MonkeyPatch, hook: Hook) -> Iterator[Workspace]:
    receivers = {"pager": hook.address, "down": f"hook+http://127.0.0.1:{free_port()}/x"}
    monkeypatch.setenv("OMNI_NOTIFY__RECEIVERS", json.dumps(receivers))
    monkeypatch.setenv("OMNI_NOTIFY__SIGNING_KEY", "a signing key of enough bytes")
    monkeypatch.setenv("OMNI_NOTIFY__ALLOW_PRIVATE", "true")
    opened = open_workspace(Settings.load(), SILENT)
    yield opened
    opened.database.close()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`omniloop alerts …` in this process; returns what it said, with the exit code if it is not 0."""
    widen(monkeypatch)

    def command(*args: object) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["omniloop", "alerts", *(str(arg) for arg in args)])
        try:
            main()
        except SystemExit as ended:
            said = capsys.readouterr()
            return said.out if not ended.code else f"{ended.code}: {said.err}"
        return capsys.readouterr().out

    return command


def fire(ws: Workspace, name: str = "latency", **said: Any) -> Alert:
    with ws.database.write() as session:
        return alerts.raise_alert(
            session,
            f"{name}:fr",
            name=name,
            severity="error",
            summary="p95 is 2 s",
            labels={"domain": "fr"},
            now=ws.clock(),
            **said,
        )


def test_without_alerts_it_says_so(ws: Workspace, run: Run) -> None:
    assert run("list") == "No alert is open.\n"
    assert run("list", "--all") == "No alert was ever raised.\n"
    assert run("silences") == "Nothing is silenced.\n"
    assert "Every notice was delivered" in run("dead")


def test_an_alert_is_shown_with_its_numbers_and_who_was_told(ws: Workspace, run: Run) -> None:
    alert = fire(ws, value=2.0, baseline=0.5, version=3, mend="Roll back.", page="/versions/3")
    with ws.database.write() as session:
        notifications.tell(
            session,
            key="k",
            group_key="g",
            receiver="pager",
            reason="firing",
            payload={},
            firing=[alert.fingerprint],
            now=ws.clock(),
        )
    line = next(line for line in run("list").splitlines() if "latency" in line)
    assert all(word in line for word in ("error", "firing", "2", "0.5", "v3"))
    shown = run("show", alert.id)
    for word in ("latency: p95 is 2 s", "domain=fr", "do: Roll back.", "look: /versions/3", "pager", "not yet"):
        assert word in shown
    assert run("show", 99).startswith("1: error: There is no alert 99")


def test_who_acknowledges_is_shown_and_audited(ws: Workspace, run: Run) -> None:
    alert = fire(ws)
    assert run("ack", alert.id, "--who", "ada") == "latency: ada looks after it.\n"
    assert run("ack", alert.id, "--who", "bob") == "latency: ada looks after it.\n"
    assert "ada" in run("list")
    with ws.database.read() as session:
        (entry,) = audit.history(session, subject="alert")
    assert (entry.who, entry.action, entry.subject_id) == ("ada", "acknowledged", str(alert.id))


def test_a_silence_says_how_many_it_hides_and_can_be_ended(ws: Workspace, run: Run) -> None:
    fire(ws)
    fire(ws, "disk")
    said = run("silence", "name=~lat.*", "severity!=info", "--why", "a migration", "--for", "2h", "--who", "ada")
    assert said.startswith("Silence 1 until")
    assert said.endswith("1 open alerts match.\n")
    lines = run("list").splitlines()
    assert [("silenced" in line) for line in lines if "error" in line] == [False, True]
    assert all(word in run("silences") for word in ("name=~lat.*, severity!=info", "ada", "a migration"))
    assert run("unsilence", 1) == "Silence 1 has ended.\n"
    assert run("silences") == "Nothing is silenced.\n"
    assert "silenced" not in run("list")
    with ws.database.read() as session:
        assert [entry.action for entry in audit.history(session, subject="silence")] == ["silenced", "silence ended"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("silence", "latency", "--why", "w"), "is no matcher"),
        (("silence", "name=~(", "--why", "w"), "is no regular expression"),
        (("silence", "name=x", "--why", "w", "--for", "soon"), "is no duration"),
        (("silence", "name=x", "--why", "w", "--for", "31d"), "longer than 30 days"),
        (("silence", "name=x", "--why", " "), "owner and a reason"),
        (("unsilence", 7), "There is no silence 7"),
        (("test", "nobody"), "there are log, pager, down"),
        (("retry", 7), "No notice 7 was set aside"),
    ],
)
def test_a_mistake_is_told_with_its_mend(ws: Workspace, run: Run, args: tuple[object, ...], message: str) -> None:
    said = run(*args)
    assert said.startswith("1: error:")
    assert message in said
    with ws.database.read() as session:
        assert silences.list_silences(session) == []


def test_a_test_goes_the_way_of_the_alerts_and_tells_why_it_failed(ws: Workspace, run: Run, hook: Hook) -> None:
    assert run("test", "pager").startswith("pager took it after")
    assert hook.posts[0].json["title"] == "Omniloop: test"
    assert "webhook-signature" in hook.posts[0].headers
    assert "down did not take the test: 127.0.0.1 could not be reached: ConnectError." in run("test", "down")
    assert run("test", "log").startswith("log took it")


def test_what_was_given_up_on_is_shown_and_tried_again(ws: Workspace, run: Run) -> None:
    with ws.database.write() as session:
        outbox.put(session, kind="notify", key="k", payload={"receiver": "pager"}, now=ws.clock())
        (message,) = outbox.claim(session, "notify", now=ws.clock())
        outbox.fail(session, message.id, error="pager answered 410", now=ws.clock(), is_final=True)
    assert "1 notices could not be delivered" in run("list")
    assert all(word in run("dead") for word in ("pager", "410", "k"))
    assert run("retry") == "1 notices will be tried again.\n"
    assert "Every notice was delivered, or is still being tried." in run("dead")


def test_a_silence_ends_by_itself(ws: Workspace) -> None:
    made, _ = silence(ws, ["name=x"], length="30m", who="ada", why="w")
    assert made.ends_at - made.starts_at == duration("30m") == timedelta(minutes=30)
    with ws.database.read() as session:
        assert silences.in_force(session, now=made.ends_at) == []
