"""Obeying: a rule's request to take a version on probation back is answered, if it is still on probation."""

from db.repository import outbox, releases, versions
from db.repository.common import hold_the_loop
from flows.steps.acting import ROLLBACK
from flows.workspace import Workspace

RULE = "rule"
"""Who takes a version back in the audit trail when a rule asked for it."""


def obey(ws: Workspace) -> list[int]:
    """Answer every request for a rollback that waits, each once; returns the versions that were taken back."""
    with ws.database.read() as session:
        if not outbox.waiting(session, ROLLBACK):
            return []
    with ws.database.write() as session:
        hold_the_loop(session)
        now, taken = ws.clock(), list[int]()
        for message in outbox.claim(session, ROLLBACK, now=now):
            release = versions.on_probation(session)
            if release is not None and release.version == message.payload["version"]:
                why, numbers = message.payload["why"], {"rule": message.payload["rule"]}
                releases.rollback(session, release.version, who=RULE, why=why, numbers=numbers, now=now)
                taken.append(release.version)
            outbox.done(session, message.id, now=now)
    for version in taken:
        ws.reporter.say(f"rollback    v{version} was taken back, as a rule asked for")
    return taken
