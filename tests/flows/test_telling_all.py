"""From a rule that breaks to the mail and the post that tell of it, and of its end, through stops and restarts."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.repository import alerts, outbox
from flows.reporter import SILENT
from flows.service.metrics import Metrics
from flows.settings import Settings
from flows.steps.notifying import deliver
from flows.steps.silencing import acknowledge, silence
from flows.steps.watching_rules import watch_rules
from flows.workspace import Workspace, open_workspace
from monitoring.alerting.reading import parse_rules
from monitoring.alerting.rule import RuleSet
from tests.flows import homes
from tests.flows.receivers import Hook, MailServer

UP = Metrics(lambda: []).text().decode()
RULES = """
routing: {group_by: [name], group_wait: 0s, group_interval: 1m, repeat_interval: 4h}
rules:
  - {name: service down, metric: service_up, over: last, bound: absolute, side: lower, limit: 0.5, window: 3m,
     for: 1m, min_samples: 1, severity: critical, receivers: [ops, pager], summary: Gone., mend: Look at its log.}
"""


class Watch:
    """A watch that takes its turn every minute, and may be started again in between."""

    def __init__(self, clock: homes.Clock, rules: RuleSet) -> None:
        self.clock, self.rules = clock, rules
        self.ws = self.opened()

    def opened(self) -> Workspace:
        return open_workspace(Settings.load(), SILENT).with_(clock=self.clock)

    def restart(self) -> None:
        self.ws.database.close()
        self.ws = self.opened()

    def turns(self, num: int, *, is_up: bool) -> None:
        for _ in range(num):
            watch_rules(self.ws, self.rules, fetch=lambda: UP if is_up else None)
            deliver(self.ws)
            self.clock.wait(minutes=1)


@pytest.fixture
def mail() -> Iterator[MailServer]:
    server = MailServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def hook() -> Iterator[Hook]:
    receiver = Hook()
    receiver.start()
    yield receiver
    receiver.stop()


@pytest.fixture
def watch(small: Path, monkeypatch: pytest.MonkeyPatch, mail: MailServer, hook: Hook) -> Iterator[Watch]:
    monkeypatch.setenv("OMNI_NOTIFY__RECEIVERS", json.dumps({"ops": mail.address, "pager": hook.address}))
    monkeypatch.setenv("OMNI_NOTIFY__SIGNING_KEY", "a signing key of enough bytes")
    monkeypatch.setenv("OMNI_NOTIFY__ALLOW_PRIVATE", "true")
    made = Watch(homes.Clock(), parse_rules(RULES))
    yield made
    made.ws.database.close()


def titles(hook: Hook) -> list[str]:
    return [post.json["title"] for post in hook.posts]


def test_each_receiver_learns_once_that_it_began_and_once_that_it_ended(
    watch: Watch, mail: MailServer, hook: Hook
) -> None:
    watch.turns(3, is_up=True)
    assert (hook.posts, mail.box.mails) == ([], [])
    hook.stop()
    watch.turns(3, is_up=False)
    watch.restart()
    watch.turns(3, is_up=False)
    hook.start()
    watch.turns(12, is_up=False)
    assert titles(hook) == ["service down (1 firing)"]
    (told,) = hook.posts[0].json["data"]["alerts"]
    assert (told["name"], told["state"], told["value"], told["mend"]) == (
        "service down",
        "firing",
        0,
        "Look at its log.",
    )
    mail.stop()
    watch.turns(4, is_up=True)
    watch.restart()
    mail.start()
    watch.turns(15, is_up=True)
    assert titles(hook) == ["service down (1 firing)", "service down (1 resolved)"]
    assert [str(letter["Subject"]) for letter in mail.box.mails] == titles(hook)
    assert len({*hook.keys(), *mail.box.keys()}) == 4
    with watch.ws.database.read() as session:
        assert outbox.waiting(session) == outbox.dead_letters(session) == []
        (alert,) = alerts.list_alerts(session)
        assert alert.state == "resolved"


def test_what_is_acknowledged_is_not_repeated_and_its_end_is_told(watch: Watch, hook: Hook) -> None:
    watch.turns(2, is_up=True)
    watch.turns(4, is_up=False)
    with watch.ws.database.read() as session:
        (alert,) = alerts.list_alerts(session, is_open=True)
    acknowledge(watch.ws, alert.id, who="ada")
    watch.clock.wait(hours=5)
    watch.turns(3, is_up=False)
    assert titles(hook) == ["service down (1 firing)"]
    watch.turns(4, is_up=True)
    assert titles(hook)[1:] == ["service down (1 resolved)"]


def test_what_is_silenced_is_raised_and_told_to_nobody_until_the_silence_ends(watch: Watch, hook: Hook) -> None:
    watch.turns(2, is_up=True)
    silence(watch.ws, ["name=service down"], length="30m", who="ada", why="a migration")
    watch.turns(10, is_up=False)
    assert hook.posts == []
    with watch.ws.database.read() as session:
        assert len(alerts.list_alerts(session, is_open=True)) == 1
    watch.clock.wait(minutes=25)
    watch.turns(3, is_up=False)
    assert titles(hook) == ["service down (1 firing)"]
