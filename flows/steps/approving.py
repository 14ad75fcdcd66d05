"""A person's yes to a candidate."""

from db.records import Release
from db.repository import releases, versions
from db.repository.checks import check_another_person
from flows.workspace import Workspace


def approve(ws: Workspace, version: int, *, who: str, why: str) -> Release:
    """Put a version in service: on probation, or for good if it is the first, which has nothing to fall back to.

    Raises ``db.errors.IllegalMove`` if the version cannot be promoted (any more), or if it must be another person.
    """
    with ws.database.write() as session:
        if ws.settings.dashboard.approver_differs:
            check_another_person(session, versions.get_release(session, version), who)
        is_first = versions.last_accepted(session) is None
        return releases.promote(session, version, who=who, why=why, probation=not is_first, now=ws.clock())
