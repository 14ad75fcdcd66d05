"""Looking at the alerts of a home from outside, and waiting for what they do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.monitor_service import Live, wait_until
from benchmarks.serve_home import workspace
from db.records import Alert
from db.repository import alerts, rule_states
from flows.steps.known import baseline_in_force
from monitoring.alerting.reading import default_text, parse_rules
from tests.flows.receivers import Hook

QUIET_S = 8.0
"""What follows from a fault's end, such as requests refused by a service that starts, is raised within this."""
HOLD_S = 5.0
"""A fault lasts that much longer than its detection, so that others have time to follow."""


class Watcher:
    """Looks at the alerts of a home from outside, and at what a receiver was told."""

    def __init__(self, live_: Live, told: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        self.live, self.told = live_, told
        self._opened = workspace(live_.home, "watched")
        self.ws = self._opened.__enter__()

    def close(self) -> None:
        """Close the database."""
        self._opened.__exit__(None, None, None)

    def alerts(self, since: float = 0.0) -> list[Alert]:
        """Alerts of rules and jobs that began at or after a moment."""
        with self.ws.database.read() as session:
            found = alerts.list_alerts(session, limit=1000)
        return [alert for alert in found if alert.started_at.timestamp() >= since and alert.severity != "info"]

    def open(self) -> list[Alert]:
        """Those that last."""
        return [alert for alert in self.alerts() if alert.resolved_at is None]

    def is_quiet(self) -> bool:
        """Nothing fires, and nothing is about to."""
        shown_only = {rule.name for rule in parse_rules(default_text()).rules if rule.severity == "info"}
        with self.ws.database.read() as session:
            states = rule_states.all_states(session).values()
        return not self.open() and not any(
            state.state in ("pending", "firing") and state.rule not in shown_only for state in states
        )

    def is_quiet_within(self, seconds: float) -> bool:
        """Whether it becomes quiet in time, and stays so for some turns."""
        began = time.monotonic()
        while holds_within(self.is_quiet, began + seconds - time.monotonic()):
            if not holds_within(lambda: not self.is_quiet(), QUIET_S):
                return True
        return False

    def knows_speed(self) -> bool:
        """Whether the baseline has the speed of the service."""
        with self.ws.database.read() as session:
            return baseline_in_force(session).reading("latency_p95", "all") is not None

    def was_told(self, alert: Alert, state: str) -> bool:
        """Whether the receiver was told that this alert fires, or has ended."""
        since = (alert.fired_at or alert.started_at).isoformat()
        return any(
            entry["fingerprint"] == alert.fingerprint and entry["state"] == state and entry["since"] >= since[:19]
            for entry in self.told()
        )


def warm_up(watcher: Watcher) -> None:
    """Wait until the baseline knows how fast the service is, and nothing fires."""
    wait_until(watcher.knows_speed, 120, "the baseline has the speed of the service")
    watcher.is_quiet_within(60)


def holds_within(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds; whether it did in time."""
    try:
        wait_until(holds, seconds, "it holds")
    except RuntimeError:
        return False
    return True


def receiving(hook: Hook) -> dict[str, str]:
    """Settings under which a webhook of this machine is told."""
    return {
        "OMNI_NOTIFY__RECEIVERS": json.dumps({"hook": hook.address}),
        "OMNI_NOTIFY__SIGNING_KEY": "a key of the benchmark alone",
        "OMNI_NOTIFY__ALLOW_PRIVATE": "true",
    }


def named(alert: Alert) -> str:
    """An alert as tables show it."""
    labels = ", ".join(str(value) for key, value in sorted(alert.labels.items()) if key != "metric")
    return f"{alert.name} ({labels})" if labels else alert.name
