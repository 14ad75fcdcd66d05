"""Delivery: receivers are stopped, cut off and refuse, the pulse is killed. Does each alert come, once?"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.harness import Figure, figure
from benchmarks.monitor_home import Watched
from benchmarks.monitor_service import Live, wait_until
from benchmarks.monitor_watcher import receiving
from benchmarks.serve_home import workspace
from db.repository import alerts, notifications, outbox
from flows.workspace import Workspace
from tests.flows.receivers import Hook, MailServer, Post

NUM, NUM_SHORT = 120, 20
STOPPED_S = 6.0
KILL_EACH = 13
"""The pulse is killed while every so-manieth webhook is on its way: taken by the receiver, not marked as delivered."""
ARRIVE_S = 240.0


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What a receiver must get: a notice and its key."""

    key: str
    receiver: str
    tells: tuple[tuple[str, str], ...]
    """Fingerprint and reason of each alert in it."""


def figures(watched: Watched, short: bool) -> tuple[dict[str, Figure], list[str]]:
    """Alerts raised and ended by the program, with everything on their way going wrong."""
    num = NUM_SHORT if short else NUM
    hook, mail = Hook(), MailServer()
    settings = receiving(hook) | {
        "OMNI_NOTIFY__RECEIVERS": json.dumps({"hook": hook.address, "mail": mail.address}),
        "OMNI_NOTIFY__TOTAL_S": "1",
        "OMNI_NOTIFY__TIMEOUT_S": "1",
        "OMNI_NOTIFY__LONGEST_WAIT_S": "4",
    }
    kills, taken = Counter[str](), list[str]()
    live = Live(watched, "delivery", settings)

    def answer(post: Post) -> int:
        """A receiver that now and then sees the sender die, hangs up, or refuses."""
        place = len(hook.posts)
        if place % KILL_EACH == KILL_EACH - 1:
            kills["while sending"] += 1
            live.pulse.kill()
        if place % 5 == 4:
            return 503
        taken.append(post.headers["webhook-id"])
        return 0 if place % 7 == 3 else 200

    hook.answer = answer
    mail.start()
    hook.start()
    try:
        with workspace(live.home, "watched") as ws:
            live.pulse.start()
            raise_all(ws, live, num, kills, hook, mail)
            keep_running(ws, live)
            expected = notices(ws)
    finally:
        live.pulse.end()
        hook.stop()
        mail.stop()
    return figures_of(
        expected, {"hook": taken, "mail": [str(each["X-Omniloop-Key"]) for each in mail.box.mails]}, kills
    )


def raise_all(ws: Workspace, live: Live, num: int, kills: Counter[str], hook: Hook, mail: MailServer) -> None:
    """Raise alerts one after the other and end each second one; receivers go away in between, the pulse is killed."""
    for place in range(num):
        with ws.database.write() as session:
            alerts.raise_alert(
                session, f"bench:{place}", name=f"bench {place}", severity="error", summary="It broke.", now=ws.clock()
            )
            if place >= 10 and place % 2:
                alerts.resolve(session, f"bench:{place - 10}", now=ws.clock())
        if place % (num // 4) == num // 8:
            mail.box.drop_next, mail.box.refuse_next = 1, 1
        if place % (num // 2) == num // 4:
            hook.stop()
            mail.stop()
            time.sleep(STOPPED_S)
            if waiting(ws):
                kills["between commit and sending"] += 1
                live.pulse.kill()
            hook.start()
            mail.start()
        if not live.pulse.is_running:
            live.pulse.start()
        time.sleep(0.25)


def keep_running(ws: Workspace, live: Live) -> None:
    """Start the pulse again whenever it was killed, until nothing waits."""

    def is_done() -> bool:
        if not live.pulse.is_running:
            live.pulse.start()
        return not waiting(ws)

    time.sleep(3)  # the last alerts become notices
    wait_until(is_done, ARRIVE_S, "every notice has arrived")
    time.sleep(6)  # a group that has changed is told after its interval
    wait_until(is_done, ARRIVE_S, "every notice has arrived")


def waiting(ws: Workspace) -> int:
    """Notices on their way."""
    with ws.database.read() as session:
        return len(outbox.waiting(session, notifications.KIND))


def notices(ws: Workspace) -> list[Notice]:
    """Everything that the two receivers were to be told."""
    with ws.database.read() as session:
        rows = notifications.list_notifications(session, limit=10_000)
    return [
        Notice(
            key=row.key,
            receiver=row.receiver,
            tells=tuple((id_, "firing") for id_ in row.firing) + tuple((id_, "resolved") for id_ in row.resolved),
        )
        for row in rows
        if row.receiver in ("hook", "mail")
    ]


def figures_of(
    expected: Iterable[Notice], got: dict[str, list[str]], kills: Counter[str]
) -> tuple[dict[str, Figure], list[str]]:
    """Alerts that a receiver never got, and those that it was told twice of under different keys.

    >>> notice = Notice(key="a", receiver="hook", tells=(("x", "firing"),))
    >>> made, _ = figures_of([notice], {"hook": ["a", "a"]}, Counter())
    >>> made["alerts_lost"]["value"], made["alerts_doubled"]["value"], made["deliveries_again_same_key"]["value"]
    (0.0, 0.0, 1.0)
    """
    expected = list(expected)
    lost = [notice for notice in expected if notice.key not in got[notice.receiver]]
    keys: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for notice in expected:
        if notice.key in got[notice.receiver]:
            for fingerprint, state in notice.tells:
                keys[notice.receiver, fingerprint, state].add(notice.key)
    doubled = sum(len(found) - 1 for found in keys.values())
    again = sum(len(found) - len(set(found)) for found in got.values())
    made = {
        "alerts_lost": figure(sum(len(notice.tells) for notice in lost), "alerts", n=len(expected)),
        "alerts_doubled": figure(doubled, "alerts", n=len(expected)),
        "deliveries_again_same_key": figure(again, "deliveries", n=len(expected)),
        "pulse_kills": figure(sum(kills.values()), "kills"),
    }
    told = ", ".join(f"{num} {when}" for when, num in sorted(kills.items()))
    note = (
        f"Delivery: {len(expected)} notices to a webhook and a mail server, both stopped twice for {STOPPED_S:g} s; of "
        " the webhook's posts each fifth got a 503 and each seventh was hung up on after it was read; mails were "
        f"refused, and cut off after they were taken. The pulse was killed with SIGKILL ({told or 'never'}). Lost: "
        "told of and never arrived. Doubled: the same state of an alert under two keys. Arrived again under the same "
        "key, which a receiver that honours it drops, is counted apart."
    )
    return made, [note]
