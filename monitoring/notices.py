"""What is told: a notice with a title and a text that say what, since when, on which version, and what to do.

A `Notifier` takes a notice to one receiver. Whatever else it raises than `NotDelivered` is a fault of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

MOST_ALERTS = 20
"""Alerts that a notice spells out; of more, it tells the number."""
MOST_TITLE = 160


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One message to one receiver."""

    key: str
    """The same at every attempt: a receiver that has seen it need not act again."""
    title: str
    """One line."""
    text: str
    severity: str = "info"
    """`info`, `warning`, `error` or `critical`."""
    is_resolved: bool = False
    """Only tells of ends."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs, as JSON."""


class NotDelivered(Exception):
    """The receiver did not take a notice. The message says why, without address or secret."""

    def __init__(self, reason: str, *, is_final: bool = False, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.is_final = is_final
        """No further attempt can help."""
        self.wait_s = wait_s
        """Seconds that the receiver asked to be left alone for."""


class Notifier(Protocol):
    """Takes notices to one receiver."""

    def send(self, notice: Notice) -> None:
        """Deliver, or raise `NotDelivered`. Returning means that the receiver has taken it."""


class NullNotifier:
    """Tells nobody."""

    def send(self, notice: Notice) -> None:
        """Done."""


def notice_of(key: str, payload: Mapping[str, Any]) -> Notice:
    """The notice that a message in the outbox asks for: of alerts, of a move of a version, or of anything with a text.

    >>> notice_of("k", {"title": "2 alerts", "text": "see below"}).title
    '2 alerts'
    """
    if "alerts" in payload:
        return _of_alerts(key, payload)
    if "to_state" in payload:
        return _of_release(key, payload)
    return Notice(
        key=key,
        title=one_line(str(payload.get("title") or "Omniloop")),
        text=_signed(str(payload.get("text") or payload.get("why") or ""), key),
        severity=str(payload.get("severity", "info")),
        data=payload,
    )


def spelled(alert: Mapping[str, Any]) -> str:
    """An alert in words: what, value against baseline, since when, which version, where to look, what to do.

    >>> print(spelled({"name": "slow", "state": "firing", "severity": "warning", "summary": "p95 is 2 s",
    ...                "value": 2.0, "baseline": 0.5, "since": "2026-11-22T12:00:00+00:00", "version": 3,
    ...                "mend": "Roll back."}))
    FIRING (warning): slow
      p95 is 2 s
      value: 2, baseline: 0.5
      since: 2026-11-22T12:00:00+00:00
      version: v3
      do: Roll back.
    """
    lines = [f"{str(alert.get('state', 'firing')).upper()} ({alert.get('severity', 'info')}): {alert.get('name', '')}"]
    if alert.get("summary"):
        lines.append(str(alert["summary"]))
    if alert.get("value") is not None:
        against = f", baseline: {_number(alert['baseline'])}" if alert.get("baseline") is not None else ""
        lines.append(f"value: {_number(alert['value'])}{against}")
    if alert.get("since"):
        lines.append(f"since: {alert['since']}")
    if alert.get("version") is not None:
        lines.append(f"version: v{alert['version']}")
    if labels := alert.get("labels"):
        lines.append("of: " + ", ".join(f"{name}={labels[name]}" for name in sorted(labels)))
    lines += [f"{word}: {alert[name]}" for word, name in (("look", "page"), ("do", "mend")) if alert.get(name)]
    return "\n  ".join(lines)


def one_line(text: str, most: int = MOST_TITLE) -> str:
    """Text without line breaks and control characters, cut where it is long: it becomes a mail's subject.

    >>> one_line("slow\\r\\nBcc: eve@example.org")
    'slow Bcc: eve@example.org'
    """
    flat = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def _of_alerts(key: str, payload: Mapping[str, Any]) -> Notice:
    alerts: Sequence[Mapping[str, Any]] = payload["alerts"]
    firing = [alert for alert in alerts if alert.get("state") != "resolved"]
    told = [spelled(alert) for alert in (*firing, *(alert for alert in alerts if alert.get("state") == "resolved"))]
    if len(told) > MOST_ALERTS:
        told = [*told[:MOST_ALERTS], f"… and {len(told) - MOST_ALERTS} more: `omniloop alerts list` shows them."]
    worst = max((str(alert.get("severity", "info")) for alert in firing), key=_rank, default="info")
    return Notice(
        key=key,
        title=one_line(str(payload.get("title") or _title(alerts, firing))),
        text=_signed("\n\n".join(told), key),
        severity=worst,
        is_resolved=not firing,
        data=payload,
    )


def _of_release(key: str, payload: Mapping[str, Any]) -> Notice:
    state = str(payload["to_state"]).replace("_", " ")
    text = f"{payload.get('why', '')}\n  by: {payload.get('who', '')}\n  was: {payload.get('from_state') or 'new'}"
    return Notice(
        key=key,
        title=one_line(f"Omniloop: v{payload.get('version')} is {state}"),
        text=_signed(text, key),
        severity="warning" if "rolled" in state or "awaiting" in state else "info",
        data=payload,
    )


def _title(alerts: Sequence[Mapping[str, Any]], firing: Sequence[Mapping[str, Any]]) -> str:
    """What the alerts are called, told once each, and how many of them fire.

    >>> _title([{"name": "slow"}, {"name": "slow"}], [])
    'Omniloop: resolved: slow'
    """
    names = ", ".join(dict.fromkeys(str(alert.get("name", "")) for alert in (firing or alerts)))
    return f"Omniloop: {len(firing)} firing: {names}" if firing else f"Omniloop: resolved: {names}"


def _signed(text: str, key: str) -> str:
    return f"{text}\n\nkey: {key}"


def _rank(severity: str) -> int:
    order = ("info", "warning", "error", "critical")
    return order.index(severity) if severity in order else 0


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)
