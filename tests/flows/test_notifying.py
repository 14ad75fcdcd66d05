"""Every notice arrives, under one key, whatever stops or dies in the middle, and no secret is told."""

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pytest

from db.records import OutboxMessage
from db.repository import alerts, notifications, outbox
from flows.pulse import Pulse
from flows.reporter import SILENT
from flows.settings import Settings, SettingsError
from flows.steps.heartbeat import send_heartbeat
from flows.steps.notifying import deliver, notify
from flows.workspace import Workspace, open_workspace
from monitoring.notices import NotDelivered, Notice, Notifier
from monitoring.notify_config import NotifyConfig
from monitoring.webhook import verify
from tests.flows import homes
from tests.flows.receivers import Hook, MailServer
from tests.flows.victims import ROOT, Death

KEY = "a signing key of enough bytes"
HOUR = timedelta(hours=1)


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
def place(
    small: Path, monkeypatch: pytest.MonkeyPatch, mail: MailServer, hook: Hook
) -> Iterator[tuple[Workspace, homes.Clock]]:
    """An empty home whose receivers are the mail server and the webhook, with a clock of its own."""
    receivers = {"ops": mail.address, "pager": hook.address}
    monkeypatch.setenv("OMNI_NOTIFY__RECEIVERS", json.dumps(receivers))
    monkeypatch.setenv("OMNI_NOTIFY__SIGNING_KEY", KEY)
    monkeypatch.setenv("OMNI_NOTIFY__ALLOW_PRIVATE", "true")
    monkeypatch.setenv("OMNI_NOTIFY__TIMEOUT_S", "3")
    clock = homes.Clock()
    opened = open_workspace(Settings.load(), SILENT).with_(clock=clock)
    yield opened, clock
    opened.database.close()


def tell(ws: Workspace, *keys: str, receivers: tuple[str, ...] = ("ops", "pager")) -> list[str]:
    """Raise an alert for each key, with a notice to each receiver; returns the keys of the messages."""
    told = []
    for key in keys:
        with ws.database.write() as session:
            alert = alerts.raise_alert(
                session, key, name=f"slow {key}", severity="error", summary="p95 is 2 s", value=2.0, now=ws.clock()
            )
            said = {"name": alert.name, "state": alert.state, "severity": "error", "summary": alert.summary}
            for receiver in receivers:
                told.append(f"{key}:{receiver}")
                notifications.tell(
                    session,
                    key=told[-1],
                    group_key="g",
                    receiver=receiver,
                    reason="firing",
                    payload={"alerts": [said]},
                    firing=[key],
                    now=ws.clock(),
                )
    return told


def waiting(ws: Workspace) -> list[OutboxMessage]:
    with ws.database.read() as session:
        return outbox.waiting(session)


def dead(ws: Workspace) -> list[OutboxMessage]:
    with ws.database.read() as session:
        return outbox.dead_letters(session)


def open_names(ws: Workspace) -> list[str]:
    with ws.database.read() as session:
        return [alert.name for alert in alerts.list_alerts(session, is_open=True)]


def test_a_notice_reaches_a_real_mail_server_and_a_real_webhook(
    place: tuple[Workspace, homes.Clock], mail: MailServer, hook: Hook
) -> None:
    ws, _ = place
    tell(ws, "a")
    assert deliver(ws) == 2
    assert waiting(ws) == []
    (letter,), (post,) = mail.box.mails, hook.posts
    assert letter["Subject"] == "Omniloop: 1 firing: slow a"
    assert letter["X-Omniloop-Key"] == "a:ops"
    assert "p95 is 2 s" in letter.as_string()
    assert post.json["key"] == post.headers["webhook-id"] == "a:pager"
    given = post.headers["webhook-timestamp"], post.body, post.headers["webhook-signature"]
    now = float(given[0])
    assert verify(KEY, "a:pager", *given, now=now)
    assert not verify(KEY, "b:pager", *given, now=now)
    assert not verify(KEY[::-1], "a:pager", *given, now=now)
    assert not verify(KEY, "a:pager", *given, now=now + 301)
    with ws.database.read() as session:
        assert all(row.delivered_at for row in notifications.list_notifications(session))
    assert notify(ws) == 0


def test_receivers_that_were_stopped_get_everything_later_and_once(
    place: tuple[Workspace, homes.Clock], mail: MailServer, hook: Hook
) -> None:
    ws, clock = place
    mail.stop()
    hook.stop()
    told = tell(ws, *"abcde")
    for _ in range(3):
        assert deliver(ws) == 0
        clock.wait(minutes=5)
    assert len(waiting(ws)) == 10
    mail.start()
    hook.start()
    while waiting(ws):
        clock.wait(minutes=11)
        deliver(ws)
    assert sorted([*mail.box.keys(), *hook.keys()]) == sorted(told)
    assert dead(ws) == []


def test_a_receiver_that_is_down_keeps_no_other_waiting_and_little_is_tried(
    place: tuple[Workspace, homes.Clock], mail: MailServer, hook: Hook
) -> None:
    ws, _ = place
    mail.stop()
    tell(ws, *"abcdefgh")
    assert deliver(ws) == 8
    assert len(hook.posts) == 8
    assert sorted(message.attempts for message in waiting(ws)) == [0] * 6 + [1] * 2


def test_a_server_that_says_not_now_is_asked_again(
    place: tuple[Workspace, homes.Clock], mail: MailServer, hook: Hook
) -> None:
    ws, clock = place
    mail.box.refuse_next = 1
    answers = iter([503, 200])
    hook.answer = lambda _: next(answers)
    hook.headers = {"Retry-After": "1800"}
    tell(ws, "a")
    assert deliver(ws) == 0
    clock.wait(minutes=15)
    assert deliver(ws) == 1, "the webhook asked for half an hour"
    clock.wait(minutes=16)
    assert deliver(ws) == 1
    assert mail.box.keys() == ["a:ops"]


def test_a_receiver_killed_after_reading_gets_the_same_key_again(
    place: tuple[Workspace, homes.Clock], hook: Hook
) -> None:
    ws, clock = place
    answers = iter([0, 200])
    hook.answer = lambda _: next(answers)
    tell(ws, "a", receivers=("pager",))
    assert deliver(ws) == 0
    clock.wait(minutes=1)
    assert deliver(ws) == 1
    assert hook.keys() == ["a:pager", "a:pager"]


def test_a_mail_server_killed_after_taking_a_mail_gets_the_same_key_again(
    place: tuple[Workspace, homes.Clock], mail: MailServer
) -> None:
    ws, clock = place
    mail.box.drop_next = 1
    tell(ws, "a", receivers=("ops",))
    assert deliver(ws) == 0
    (message,) = waiting(ws)
    assert (message.last_error or "").startswith("mailto: ")
    clock.wait(minutes=1)
    assert deliver(ws) == 1
    assert mail.box.keys() == ["a:ops", "a:ops"]


@pytest.mark.parametrize(
    ("death", "num_sent"),
    [
        (Death(function="monitoring.webhook:Webhook.send"), 0),
        (Death(function="monitoring.webhook:Webhook.send", after=True), 1),
        (Death(function="db.repository.notifications:delivered", after=True), 1),
    ],
)
def test_killed_between_commit_and_send_or_after_it_loses_none(
    place: tuple[Workspace, homes.Clock], hook: Hook, death: Death, num_sent: int
) -> None:
    ws, clock = place
    told = tell(ws, "a", "b", receivers=("pager",))
    code = (
        "import json, sys; from datetime import datetime; from tests.flows.victims import Death, arrange, opened;"
        "from flows.steps.notifying import deliver; arrange(Death(**json.loads(sys.argv[1])));"
        "now = datetime.fromisoformat(sys.argv[2]); deliver(opened().with_(clock=lambda: now))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, json.dumps(asdict(death)), clock().isoformat()]
    victim = subprocess.run(command, cwd=ROOT, check=False)
    assert victim.returncode == -signal.SIGKILL
    assert len(hook.posts) == num_sent
    assert deliver(ws) == 0, "the dead worker's lease holds"
    clock.wait(hours=1)
    assert deliver(ws) == 2
    assert sorted(set(hook.keys())) == told
    assert len(hook.keys()) == 2 + num_sent, "one more than once, under the key that it had"


def test_after_the_last_attempt_it_is_set_aside_shown_and_may_be_tried_again(
    place: tuple[Workspace, homes.Clock], hook: Hook
) -> None:
    ws, clock = place
    ws = ws.with_(settings=ws.settings.model_copy(update={"notify": few(ws.settings.notify)}))
    hook.answer = lambda _: 500
    tell(ws, "a", receivers=("pager",))
    for _ in range(5):
        deliver(ws)
        clock.wait(hours=2)
    (letter,) = dead(ws)
    assert letter.attempts == 3
    assert letter.last_error == "127.0.0.1 answered 500."
    assert open_names(ws) == ["notices are not delivered", "slow a"]
    hook.answer = lambda _: 200
    with ws.database.write() as session:
        outbox.revive(session, letter.id, now=clock())
    assert deliver(ws) == 1
    assert open_names(ws) == ["slow a"]


def few(config: NotifyConfig) -> NotifyConfig:
    return NotifyConfig(**{**asdict(config), "max_attempts": 3})


def test_a_receiver_that_is_gone_or_unknown_is_not_tried_again(
    place: tuple[Workspace, homes.Clock], hook: Hook
) -> None:
    ws, _ = place
    hook.answer = lambda _: 410
    tell(ws, "a", receivers=("pager", "nobody"))
    assert deliver(ws) == 0
    reasons = [letter.last_error or "" for letter in dead(ws)]
    assert "gone" in reasons[0]
    assert "There is no receiver 'nobody'; there are log, ops, pager" in reasons[1]


def test_a_move_of_a_version_is_told_to_every_receiver_once(
    place: tuple[Workspace, homes.Clock], mail: MailServer, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    ws, _ = place
    moved = {"version": 3, "from_state": "probation", "to_state": "rolled_back", "who": "probation", "why": "fell"}
    with ws.database.write() as session:
        outbox.put(session, kind="notify", key="notify:release:3:rolled_back", payload=moved, now=ws.clock())
    with caplog.at_level(logging.INFO):
        assert Pulse(ws).jobs["notices"][1]() == 3
    assert hook.posts[0].json["title"] == mail.box.mails[0]["Subject"] == "Omniloop: v3 is rolled back"
    assert hook.keys() == ["notify:release:3:rolled_back>pager"]
    assert "v3 is rolled back" in caplog.text


def test_no_secret_is_in_the_log_the_outbox_or_the_settings(
    place: tuple[Workspace, homes.Clock], mail: MailServer, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    ws, _ = place
    mail.stop()
    hook.stop()
    tell(ws, "a")
    with caplog.at_level(logging.DEBUG):
        deliver(ws)
    kept = " ".join(str(message) for message in waiting(ws)) + caplog.text + repr(ws.settings)
    for secret in ("a-secret-path", KEY, "loop@example.org"):
        assert secret not in kept
    assert "127.0.0.1 could not be reached" in kept


@pytest.mark.parametrize(
    ("receivers", "message"),
    [
        ('{"ops": "s3cret"}', "is no URL"),
        ('{"ops": ["mailto://s3cret@h"]}', "is no URL"),
        ('{"log": "mailto://s3cret@h"}', "A receiver's name"),
        ('{"ops": "json://s3cret@h"}', "without a signature"),
        ('{"ops": "hook+https://h/s3cret"}', "there is no key"),
        ("s3cret", "is no URL"),
    ],
)
def test_a_wrong_receiver_is_refused_without_repeating_its_address(
    small: Path, monkeypatch: pytest.MonkeyPatch, receivers: str, message: str
) -> None:
    monkeypatch.setenv("OMNI_NOTIFY__RECEIVERS", receivers)
    with pytest.raises(SettingsError, match=message) as caught:
        Settings.load()
    assert "s3cret" not in str(caught.value)


def test_a_fault_of_ours_ends_the_turn_and_loses_nothing(place: tuple[Workspace, homes.Clock]) -> None:
    class Broken:
        def send(self, notice: Notice) -> None:
            raise RuntimeError("a fault")

    def make(name: str, config: NotifyConfig) -> Notifier:
        return Broken()

    ws, clock = place
    tell(ws, "a", receivers=("ops",))
    with pytest.raises(RuntimeError, match="a fault"):
        deliver(ws, make=make)
    clock.wait(hours=1)
    assert deliver(ws) == 1


def test_the_waits_grow_and_differ(place: tuple[Workspace, homes.Clock]) -> None:
    class Away:
        def send(self, notice: Notice) -> None:
            raise NotDelivered("away")

    def make(name: str, config: NotifyConfig) -> Notifier:
        return Away()

    ws, clock = place
    told: Mapping[str, list[float]] = {"a": [], "b": []}
    for key in told:
        tell(ws, key, receivers=("ops",))
    for _ in range(12):
        deliver(ws, make=make)
        for message in waiting(ws):
            told[message.key[0]].append((message.next_attempt_at - clock.now).total_seconds())
        clock.wait(hours=1)
    assert told["a"] != told["b"]
    for waits in told.values():
        assert 1 <= waits[0] <= 2
        assert 300 <= waits[-1] <= 600


def test_a_sign_of_life_says_how_things_stand_and_its_absence_is_an_alert(
    place: tuple[Workspace, homes.Clock], hook: Hook
) -> None:
    ws, _ = place
    assert not send_heartbeat(ws)
    alive = NotifyConfig(**{**asdict(ws.settings.notify), "heartbeat": "pager"})
    ws = ws.with_(settings=ws.settings.model_copy(update={"notify": alive}))
    tell(ws, "a", receivers=("ops",))
    pulse = Pulse(ws)
    pulse.guarded("heartbeat", pulse.jobs["heartbeat"][1])
    said = hook.posts[0].json["data"]
    assert (said["num_open_alerts"], said["num_undelivered"], said["version"]) == (1, 1, None)
    assert said["rules_judged_s_ago"] is None
    hook.stop()
    pulse.guarded("heartbeat", pulse.jobs["heartbeat"][1])
    assert open_names(ws) == ["pulse", "slow a"]
    with pytest.raises(ValueError, match=r"notify\.heartbeat names nobody"):
        NotifyConfig(heartbeat="nobody")
