"""The sign of life: sent by the pulse to a receiver that raises the alarm when none comes (a dead man's switch).

It goes past the outbox: one that is late says nothing. What else is wrong stands in it, so that a receiver can tell a
pulse that beats from one that gets nothing done.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from db.repository import alerts, notifications, outbox, rule_states, versions
from flows.steps.notifying import usual
from flows.workspace import Workspace
from monitoring.notices import Notice, Notifier
from monitoring.notify_config import NotifyConfig

MANY = 10_000


def send_heartbeat(ws: Workspace, *, make: Callable[[str, NotifyConfig], Notifier] = usual) -> bool:
    """Send one sign of life; False if nobody is to get any. Raises `NotDelivered`: the pulse makes an alert of it."""
    config, now = ws.settings.notify, ws.clock()
    if not config.heartbeat:
        return False
    make(config.heartbeat, config).send(
        Notice(
            key=f"heartbeat:{now:%Y%m%dT%H%M%S}",
            title="Omniloop is alive",
            text=f"The pulse beats on {now:%Y-%m-%d %H:%M:%S} UTC.",
            data=state(ws, now),
        )
    )
    return True


def state(ws: Workspace, now: datetime) -> dict[str, Any]:
    """How things stand, as JSON."""
    with ws.database.read() as session:
        waiting = outbox.waiting(session, notifications.KIND)
        judged = [row.updated_at for row in rule_states.all_states(session).values()]
        return {
            "at": now.isoformat(),
            "version": versions.serving(session).version,
            "num_open_alerts": len(alerts.list_alerts(session, is_open=True, limit=MANY)),
            "num_undelivered": len(waiting),
            "oldest_undelivered_s": max(((now - row.created_at).total_seconds() for row in waiting), default=0.0),
            "rules_judged_s_ago": (now - max(judged)).total_seconds() if judged else None,
        }
