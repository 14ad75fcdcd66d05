"""Delivery: takes the notices that wait in the outbox to their receivers, at least once each.

A notice is written in the transaction of what it tells of, so that none is lost, and marked as delivered after its
receiver took it. A process that dies in between delivers it again, under the same key. A receiver that does not answer
keeps no other waiting: after two failures in a turn its other notices are put back.
"""

import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from db.records import OutboxMessage
from db.repository import alerts, notifications, outbox
from flows.workspace import Workspace
from monitoring.notices import NotDelivered, Notifier, notice_of
from monitoring.notify_config import LOG, NotifyConfig
from monitoring.patience import InTime

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 5
"""Notices claimed together; the lease outlasts that many receivers that do not answer."""
MOST_FAILURES = 2
"""In a turn, before a receiver is left alone until the next one."""

Make = Callable[[str, NotifyConfig], Notifier]


@dataclass
class Turn:
    """One turn of deliveries: whom it has reached so far, and whom not."""

    ws: Workspace
    make: Make
    rng: random.Random
    known: dict[str, Notifier] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    num_done: int = 0

    def take(self, message: OutboxMessage) -> None:
        """Hand a message out to its receivers, or deliver it to the one it has."""
        receiver = message.payload.get("receiver")
        if receiver is None:
            self.hand_out(message)
        elif self.failures[receiver] >= MOST_FAILURES:
            self.put_back(message)
        else:
            self.deliver(message, receiver)

    def hand_out(self, message: OutboxMessage) -> None:
        """A message for nobody in particular becomes one for each receiver, in one transaction."""
        config = self.ws.settings.notify
        with self.ws.database.write() as session:
            for name in (LOG, *(config.of_releases or config.addresses)):
                if name != LOG or LOG not in config.of_releases:
                    outbox.put(
                        session,
                        kind=notifications.KIND,
                        key=f"{message.key}>{name}",
                        payload={**message.payload, "receiver": name},
                        now=self.ws.clock(),
                    )
            outbox.done(session, message.id, now=self.ws.clock())

    def deliver(self, message: OutboxMessage, receiver: str) -> None:
        """One attempt, and what came of it."""
        try:
            if receiver not in self.known:
                self.known[receiver] = self.make(receiver, self.ws.settings.notify)
            self.known[receiver].send(notice_of(message.key, message.payload))
        except NotDelivered as error:
            self.failed(message, receiver, str(error), is_final=error.is_final, wait_s=error.wait_s)
        except (LookupError, ValueError) as error:
            self.failed(message, receiver, str(error), is_final=True, wait_s=None)
        else:
            self.delivered(message, receiver)

    def delivered(self, message: OutboxMessage, receiver: str) -> None:
        """The receiver took it."""
        now = self.ws.clock()
        with self.ws.database.write() as session:
            outbox.done(session, message.id, now=now)
            notifications.delivered(session, message.key, now=now)
            alerts.resolve(session, undeliverable(receiver), now=now)
        self.failures[receiver] = 0
        self.num_done += 1

    def failed(self, message: OutboxMessage, receiver: str, why: str, *, is_final: bool, wait_s: float | None) -> None:
        """Try again later, or set it aside and raise an alert about the receiver."""
        config, now = self.ws.settings.notify, self.ws.clock()
        pause_s = wait_of(message.attempts, config.longest_wait_s, self.rng, at_least_s=wait_s or 0.0)
        with self.ws.database.write() as session:
            left = outbox.fail(
                session,
                message.id,
                error=why,
                now=now,
                wait_s=pause_s,
                is_final=is_final,
                max_attempts=config.max_attempts,
            )
            if left.dead_at is not None:
                alerts.raise_alert(
                    session,
                    undeliverable(receiver),
                    name="notices are not delivered",
                    severity="error",
                    summary=f"Notices to {receiver!r} are given up on: {why}",
                    labels={"receiver": receiver},
                    mend="Mend the receiver, then `omniloop alerts retry`.",
                    now=now,
                )
        self.failures[receiver] += 1
        logger.warning("A notice to %s was not delivered (attempt %d): %s", receiver, message.attempts, why)

    def put_back(self, message: OutboxMessage) -> None:
        """Leave it for a later turn; it counts as no attempt."""
        pause_s = wait_of(1, self.ws.settings.notify.longest_wait_s, self.rng)
        with self.ws.database.write() as session:
            outbox.put_back(session, [message.id], until=self.ws.clock() + timedelta(seconds=pause_s))


def deliver(
    ws: Workspace,
    *,
    make: Make | None = None,
    rng: random.Random | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> int:
    """Take what is due to its receivers, until nothing is left or the turn's time is over; returns how many took it."""
    config = ws.settings.notify
    turn = Turn(ws, make or usual, rng or random.Random())
    ends, lease_s = monotonic() + config.turn_s, MOST_AT_ONCE * config.total_s + 30
    while monotonic() < ends:
        with ws.database.write() as session:
            claimed = outbox.claim(
                session,
                notifications.KIND,
                now=ws.clock(),
                limit=MOST_AT_ONCE,
                lease_s=lease_s,
                max_attempts=config.max_attempts,
            )
        if not claimed:
            break
        for message in claimed:
            turn.take(message)
    return turn.num_done


def notify(ws: Workspace) -> int:
    """Deliver if a notice waits that is due; returns how many were taken. Cheap when there is none."""
    with ws.database.read() as session:
        is_due = outbox.is_due(session, notifications.KIND, now=ws.clock())
    return deliver(ws) if is_due else 0


def usual(name: str, config: NotifyConfig) -> Notifier:
    """The notifier of a receiver, with a limit to its time. Apprise is imported here, when it is needed."""
    from monitoring.notify import make_notifier

    notifier = make_notifier(name, config, logger)
    return notifier if name == LOG else InTime(name, notifier, config.total_s)


def wait_of(attempts: int, longest_s: float, rng: random.Random, *, at_least_s: float = 0.0) -> float:
    """Seconds until the next attempt: doubling from two, up to the longest, of which half is left to chance.

    Not less than what the receiver asked for, but that is believed up to an hour only.

    >>> wait_of(3, 600.0, random.Random(0)) == 4.0 + 4.0 * random.Random(0).random()
    True
    """
    full = min(outbox.backoff_s(attempts), longest_s)
    return max(full / 2 * (1 + rng.random()), min(at_least_s, 3600.0))


def undeliverable(receiver: str) -> str:
    """Fingerprint of the alert about a receiver."""
    return f"notify:{receiver}"
