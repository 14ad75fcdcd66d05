"""Alerts: what is open, who looks after it, what is silenced, and whether notices arrive."""

from typing import Annotated

import typer
from rich.table import Table

from db.records import Alert, Notification
from flows.cli.common import console, person, show_table, workspace

app = typer.Typer(help="Alerts: list, show, acknowledge, silence, and the notices about them.", no_args_is_help=True)

Number = Annotated[int, typer.Argument(help="The number that `omniloop alerts list` shows.")]
Who = Annotated[str, typer.Option(help="Who does it; default: you.")]
MOMENT = "%Y-%m-%d %H:%M:%S"


@app.command("list")
def list_(all_: Annotated[bool, typer.Option("--all", help="Those that have ended too.")] = False) -> None:
    """Alerts with what was measured against what, since when, on which version, and who looks after them."""
    from db.repository import alerts, notifications, outbox, silences
    from flows.steps.silencing import labels_of
    from monitoring.matchers import matches

    with workspace() as ws, ws.database.read() as session:
        found = alerts.list_alerts(session, is_open=None if all_ else True)
        in_force = silences.in_force(session, now=ws.clock())
        num_dead = sum(message.kind == notifications.KIND for message in outbox.dead_letters(session))
    if not found:
        console.print("No alert was ever raised." if all_ else "No alert is open.")
    else:
        table = Table("", "name", "severity", "state", "value", "baseline", "version", "since (UTC)", "looked after by")
        for alert in found:
            is_silent = any(matches(silence.matchers, labels_of(alert)) for silence in in_force)
            state = alert.state + (", silenced" if is_silent and alert.resolved_at is None else "")
            figures = _figure(alert.value), _figure(alert.baseline), f"v{alert.version}" if alert.version else "–"
            since = f"{alert.started_at:{MOMENT}}"
            table.add_row(
                str(alert.id), alert.name, alert.severity, state, *figures, since, alert.acknowledged_by or "–"
            )
        show_table(table)
    if num_dead:
        console.print(f"{num_dead} notices could not be delivered: `omniloop alerts dead`.", highlight=False)


@app.command("show")
def show(number: Number) -> None:
    """One alert: what, why, since when, what to do, and who was told."""
    from db.repository import alerts, notifications

    with workspace() as ws, ws.database.read() as session:
        alert = alerts.get(session, number)
        told = [row for row in notifications.list_notifications(session, limit=1000) if _is_about(row, alert)]
    facts = {
        "severity": alert.severity,
        "state": alert.state,
        "value": _figure(alert.value),
        "baseline": _figure(alert.baseline),
        "version": f"v{alert.version}" if alert.version else None,
        "of": ", ".join(f"{name}={value}" for name, value in sorted(alert.labels.items())),
        "since": f"{alert.started_at:{MOMENT}} UTC",
        "ended": alert.resolved_at and f"{alert.resolved_at:{MOMENT}} UTC",
        "looked after by": alert.acknowledged_by and f"{alert.acknowledged_by}, {alert.acknowledged_at:{MOMENT}} UTC",
        "look": alert.page,
        "do": alert.mend,
    }
    console.print(f"{alert.name}: {alert.summary}", highlight=False, markup=False)
    for name, value in facts.items():
        if value:
            console.print(f"  {name}: {value}", highlight=False, markup=False)
    table = Table("told (UTC)", "receiver", "because", "delivered (UTC)")
    for row in told:
        delivered = f"{row.delivered_at:{MOMENT}}" if row.delivered_at else "not yet"
        table.add_row(f"{row.created_at:{MOMENT}}", row.receiver, row.reason, delivered)
    console.print(table if told else "Nobody was told yet.")


@app.command("ack")
def ack(number: Number, who: Who = "", why: Annotated[str, typer.Option(help="A word on it.")] = "") -> None:
    """Say that you look after an alert: it is not repeated any more, and its end is still told."""
    from flows.steps.silencing import acknowledge

    with workspace() as ws:
        alert = acknowledge(ws, number, who=who or person(), why=why)
    console.print(f"{alert.name}: {alert.acknowledged_by} looks after it.", highlight=False, markup=False)


@app.command("silence")
def silence(
    matchers: Annotated[list[str], typer.Argument(help="name=…, severity!=…, task=~…: all of them must match.")],
    why: Annotated[str, typer.Option(help="The reason, for the others.")],
    length: Annotated[str, typer.Option("--for", help="30m, 2h, 1d.")] = "1h",
    who: Who = "",
) -> None:
    """Tell nobody of the alerts that match, for a time. They are still raised and shown."""
    from flows.steps.silencing import silence as step

    with workspace() as ws:
        made, num_hidden = step(ws, matchers, length=length, who=who or person(), why=why)
    console.print(
        f"Silence {made.id} until {made.ends_at:{MOMENT}} UTC; {num_hidden} open alerts match.", highlight=False
    )


@app.command("silences")
def silences_() -> None:
    """The silences in force: what they match, whose they are, why, and until when."""
    from db.repository import silences
    from monitoring.matchers import written

    with workspace() as ws, ws.database.read() as session:
        found = silences.in_force(session, now=ws.clock())
    if not found:
        console.print("Nothing is silenced.")
        return
    table = Table("", "matches", "owner", "why", "until (UTC)")
    for row in found:
        table.add_row(str(row.id), ", ".join(map(written, row.matchers)), row.owner, row.why, f"{row.ends_at:{MOMENT}}")
    show_table(table)


@app.command("unsilence")
def unsilence(number: Annotated[int, typer.Argument(help="Number of the silence.")], who: Who = "") -> None:
    """End a silence now."""
    from flows.steps.silencing import unsilence as step

    with workspace() as ws:
        ended = step(ws, number, who=who or person())
    console.print(f"Silence {ended.id} has ended.", highlight=False)


@app.command("test")
def test(receiver: Annotated[str, typer.Argument(help="A name in OMNI_NOTIFY__RECEIVERS, or log.")]) -> None:
    """Send a test notice to a receiver at once, by the way that alerts take."""
    from flows.steps.silencing import try_receiver
    from monitoring.notices import NotDelivered

    with workspace() as ws:
        try:
            seconds = try_receiver(ws, receiver, who=person())
        except NotDelivered as error:
            raise ValueError(f"{receiver} did not take the test: {error}") from error
    console.print(f"{receiver} took it after {seconds:.1f} s.", highlight=False)


@app.command("dead")
def dead() -> None:
    """Notices that were given up on, and why."""
    from db.repository import notifications, outbox

    with workspace() as ws, ws.database.read() as session:
        found = [message for message in outbox.dead_letters(session) if message.kind == notifications.KIND]
    if not found:
        console.print("Every notice was delivered, or is still being tried.")
        return
    table = Table("", "receiver", "key", "attempts", "given up (UTC)", "why")
    for row in found:
        receiver, given_up = str(row.payload.get("receiver", "–")), f"{row.dead_at:{MOMENT}}" if row.dead_at else "–"
        table.add_row(str(row.id), receiver, row.key, str(row.attempts), given_up, row.last_error or "")
    show_table(table)


@app.command("retry")
def retry(numbers: Annotated[list[int] | None, typer.Argument(help="Of `alerts dead`; default: all.")] = None) -> None:
    """Try notices that were given up on again."""
    from flows.steps.silencing import retry as step

    with workspace() as ws:
        chosen = step(ws, numbers or [], who=person())
    console.print(f"{len(chosen)} notices will be tried again.", highlight=False)


def _is_about(row: Notification, alert: Alert) -> bool:
    return alert.fingerprint in (*row.firing, *row.resolved) and row.created_at >= alert.started_at


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
