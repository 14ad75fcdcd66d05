"""The pages about monitoring and alerts: every command, setting and example in them is real, because it is run here."""

import base64
import json
import logging
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from db.repository import alerts, notifications, silences
from flows.cli import app, main
from flows.settings import Settings, names
from flows.workspace import Workspace
from monitoring.alerting.reading import parse_rules
from monitoring.notify import make_notifier
from monitoring.notify_config import NotifyConfig
from tests.flows.receivers import Hook
from tests.flows.terminals import widen
from tests.laws import ROOT

PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("alerts", "monitoring")}
OTHERS = {"OMNI_HOME"}
Run = Callable[..., str]


def blocks(page: str, language: str) -> list[str]:
    """The examples of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)


def commands(page: str) -> list[list[str]]:
    """Every `omniloop …` of a page, in examples and in the text, as words."""
    text = PAGES[page]
    lines = [line for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("omniloop ")]
    inline = [part.replace("\n", " ") for part in re.findall(r"`(omniloop [^`]+)`", text)]
    return [shlex.split(line, comments=True) for line in (*lines, *inline)]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A command in this process, which must end well; returns what it said."""
    widen(monkeypatch)

    def command(*words: str) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["omniloop", *words])
        try:
            main()
            code: object = 0
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        assert not code, f"omniloop {' '.join(words)}: {said.err}"
        return said.out

    return command


@pytest.fixture
def hook() -> Iterator[Hook]:
    receiver = Hook()
    receiver.start()
    yield receiver
    receiver.stop()


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_exists_with_its_options(page: str) -> None:
    found = commands(page)
    assert len(found) > 5
    for words in found:
        command: Any = typer.main.get_command(app)
        rest = words[1:]
        while isinstance(command, click.Group) or hasattr(command, "commands"):
            assert rest, f"{words} names no command"
            assert rest[0] in command.commands, f"{words}: no command {rest[0]!r}"
            command, rest = command.commands[rest[0]], rest[1:]
        known = {option for parameter in command.params for option in parameter.opts}
        options = {word.strip("[]") for word in rest if word.strip("[").startswith("--")}
        assert options <= known, f"{words}: {options - known}"


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_of_a_page_exists(page: str) -> None:
    said = set(re.findall(r"\bOMNI_[A-Z][A-Z_]*[A-Z]\b", PAGES[page])) - OTHERS
    assert said
    assert said <= set(names(Settings)), said - set(names(Settings))


def test_the_example_of_receivers_is_accepted_and_known_to_apprise() -> None:
    (example,) = (block for block in blocks("alerts", "sh") if "RECEIVERS" in block)
    exports = example.replace("$(openssl rand -base64 32)", base64.b64encode(os.urandom(32)).decode())
    lines = [line for line in exports.splitlines() if not line.startswith("omniloop")]
    told = subprocess.run(["bash", "-ec", "\n".join([*lines, "env -0"])], capture_output=True, text=True, check=True)
    env = dict(entry.partition("=")[::2] for entry in told.stdout.split("\0") if entry)
    config = NotifyConfig(
        receivers=json.loads(env["OMNI_NOTIFY__RECEIVERS"]), signing_key=env["OMNI_NOTIFY__SIGNING_KEY"]
    )
    assert config.names == ("log", "ops", "chat", "pager")
    for name in config.names:
        make_notifier(name, config, logging.getLogger("tests"))


def test_the_example_of_rules_is_accepted_and_says_what_it_says(ws: Workspace, tmp_path: Path, run: Run) -> None:
    (example,) = blocks("monitoring", "yaml")
    (rule,) = parse_rules(example).rules
    assert (rule.name, rule.bound.limit, rule.window_s, rule.min_samples) == ("latency high", 0.15, 900, 100)
    file = tmp_path / "rules.yaml"
    file.write_text(example.replace("receivers: [ops]", "receivers: [log]"))
    assert run("rules", "check", str(file)).startswith("1 rules, 1 inhibitions")


def test_the_commands_of_monitoring_run_one_after_the_other(
    ws: Workspace, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("monitoring", "sh")
    for line in example.splitlines():
        words = shlex.split(line, comments=True)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            monkeypatch.setenv(name, value.replace("$PWD", str(tmp_path)))
        elif ">" in words:
            at = words.index(">")
            (tmp_path / words[at + 1]).write_text(run(*words[1:at]))
        else:
            run(*words[1:])
    assert Settings.load().alerting.rules == str(tmp_path / "rules.yaml")
    assert "accuracy" in run("baseline", "--why", "shown in the manual")


def test_what_a_person_does_about_alerts_works_as_the_table_says(
    ws: Workspace, run: Run, monkeypatch: pytest.MonkeyPatch, hook: Hook
) -> None:
    monkeypatch.setenv("OMNI_NOTIFY__RECEIVERS", json.dumps({"NAME": hook.address}))
    monkeypatch.setenv("OMNI_NOTIFY__SIGNING_KEY", "a signing key of enough bytes")
    monkeypatch.setenv("OMNI_NOTIFY__ALLOW_PRIVATE", "true")
    with ws.database.write() as session:
        alert = alerts.raise_alert(
            session, "f", name="latency", severity="error", summary="slow", labels={"task": "digit"}, now=ws.clock()
        )
    (table,) = re.findall(r"## What a person does\n(.*?)\n\n[A-Z]", PAGES["alerts"], re.DOTALL)
    rows = re.findall(r"^\| `(omniloop alerts [^|]+)\|", table, re.MULTILINE)
    assert len(rows) == 6
    done = []
    for row in rows:
        first, *more = [part.strip("` ") for part in row.split("`, `")]
        for text in (first, *(f"omniloop alerts {part}" for part in more)):
            for line in (re.sub(r" \[[^]]*\]", "", text), text.replace("[", "").replace("]", "").replace("N…", "")):
                words = [str(alert.id) if word == "N" else word for word in shlex.split(line)]
                if words not in done:
                    done.append(words)
                    run(*words[1:])
    verbs = {words[2] for words in done}
    assert verbs == {"list", "show", "ack", "silence", "silences", "unsilence", "test", "dead", "retry"}
    with ws.database.read() as session:
        assert alerts.get(session, alert.id).acknowledged_at is not None
        (silence,) = silences.list_silences(session)
        assert silence.ended_at is not None
    (post,) = hook.posts
    check(post.headers, post.body)


def check(headers: Mapping[str, str], body: bytes) -> None:
    """The example of a receiver in Python, on a real notice; it refuses another body."""
    (example,) = blocks("alerts", "python")
    *before, last = example.strip().splitlines()
    scope: dict[str, Any] = {"key": "a signing key of enough bytes", "headers": headers, "time": time}
    exec("\n".join(before), scope)
    assert eval(last, scope | {"body": body}) is True
    assert eval(last, scope | {"body": body + b" "}) is False
    assert json.loads(body).keys() == {"type", "key", "title", "text", "severity", "is_resolved", "data"}


def test_a_notice_says_of_each_alert_what_the_page_says_it_does(ws: Workspace) -> None:
    from flows.steps.telling import payload_of
    from monitoring.alerting.grouping import Due

    (listed,) = re.findall(r"`data\.alerts` has\n?(.*?) of each alert", PAGES["alerts"], re.DOTALL)
    with ws.database.write() as session:
        alerts.raise_alert(session, "f", name="latency", severity="error", summary="slow", now=ws.clock())
        (row,) = payload_of(session, "g", Due(reason="firing", firing=("f",), resolved=()))["alerts"]
        assert notifications.list_notifications(session) == []
    assert set(re.split(r",\s+|\s+and\s+", listed.strip())) == set(row)
