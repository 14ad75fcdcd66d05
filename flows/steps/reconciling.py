"""The reconciler: makes MLflow mirror the database and delivers what the outbox holds. Repeating it changes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from db.records import OutboxMessage
from db.repository import audit, outbox, versions
from db.repository.common import hold_the_loop
from flows.failpoints import failpoint
from flows.steps.notifying import deliver
from flows.workspace import Workspace

RECONCILER = "reconciler"
MOST_MESSAGES = 1000
"""Messages taken in one turn."""


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """What was put right."""

    aliases: dict[str, str | None]
    """Where each alias points now: an MLflow version, or None for no alias."""
    moved_by_hand: tuple[str, ...]
    """Aliases that somebody had moved in MLflow; reported, and set back."""
    num_delivered: int
    """Messages of the outbox that went out."""


def reconcile(ws: Workspace) -> Reconciliation:
    """Project the releases onto MLflow and deliver the outbox. The releases win over what MLflow says.

    Messages are taken at the moment at which the releases are read: a move that comes later leaves its message for the
    next turn.
    """
    with ws.database.write() as session:
        hold_the_loop(session)
        is_settled = not outbox.waiting(session, "mlflow_alias")
        moves = outbox.claim(session, "mlflow_alias", now=ws.clock(), limit=MOST_MESSAGES)
        wanted = wanted_aliases(session)
        states = {row.mlflow_version: row.state for row in versions.history(session) if row.mlflow_version}
    present = ws.registry.aliases()
    astray = tuple(name for name in wanted if is_settled and present.get(name) != wanted[name])
    if astray:
        report_astray(ws, astray, present, wanted)
    ws.registry.project(wanted)
    for mlflow_version, state in states.items():
        ws.registry.tag_version(mlflow_version, {"omniloop.state": state})
    failpoint("reconcile.projected")
    num_delivered = settle(ws, moves) + deliver(ws)
    failpoint("reconcile.committed")
    return Reconciliation(aliases=wanted, moved_by_hand=astray, num_delivered=num_delivered)


def wanted_aliases(session: Session) -> dict[str, str | None]:
    """What the releases say that each alias must point to: MLflow's version, None for no alias."""
    serving = versions.serving(session)
    known = {release.version: release for release in versions.history(session)}
    waiting = [release for release in known.values() if release.state in ("candidate", "awaiting_approval")]

    def number(version: int | None) -> str | None:
        return None if version is None else known[version].mlflow_version

    return {
        "champion": number(serving.version),
        "previous": number(serving.previous_version),
        "challenger": waiting[-1].mlflow_version if waiting else None,
    }


def report_astray(
    ws: Workspace, astray: tuple[str, ...], present: Mapping[str, str], wanted: Mapping[str, str | None]
) -> None:
    """Put into the audit trail, and tell, that an alias was moved outside."""
    for alias in astray:
        why = (
            f"MLflow's alias {alias!r} pointed to {present.get(alias, 'nothing')}, the releases say "
            f"{wanted[alias] or 'nothing'}; set back. Use `omniloop models` to change what is served."
        )
        ws.reporter.say(f"reconcile   {why}")
        with ws.database.write() as session:
            audit.add(
                session,
                who=RECONCILER,
                action="alias_set_back",
                subject="alias",
                subject_id=alias,
                why=why,
                now=ws.clock(),
            )


def settle(ws: Workspace, messages: Sequence[OutboxMessage]) -> int:
    """Mark messages as delivered; returns how many."""
    with ws.database.write() as session:
        for message in messages:
            outbox.done(session, message.id, now=ws.clock())
    return len(messages)
