"""Labels: they arrive from people or from a data set's own answers, and let a waiting round go on."""

from collections.abc import Iterable

from db.records import Round
from db.repository import label_queue, labels, rounds
from flows.failpoints import failpoint
from flows.workspace import Workspace


def add_labels(ws: Workspace, answers: Iterable[tuple[str, str]], *, origin: str) -> int:
    """Store (sample id, answer) pairs as labels; returns how many were new.

    ``origin`` says who answered: ``human:NAME``, ``manifest`` or ``dataset``. An answer outside the task's set or an
    unknown sample raises ``ValueError``, and then none of the pairs is stored.
    """
    with ws.database.write() as session:
        round_ = rounds.resume_target(session)
        round_id = None if round_ is None else round_.id
        num_new = 0
        for sample_id, answer in answers:
            before = labels.active_label(session, sample_id)
            after = labels.add_label(session, sample_id, answer, origin, round_id=round_id, now=ws.clock())
            num_new += after != before
    failpoint("label.committed")
    return num_new


def waiting_for_labels(ws: Workspace, round_: Round) -> list[str]:
    """Ids of the round's samples without a label yet, in the order in which they are offered."""
    with ws.database.read() as session:
        return [entry.sample_id for entry in label_queue.list_entries(session, round_id=round_.id)]


def finish_labelling(ws: Workspace, round_: Round) -> bool:
    """Move the round on when enough of its samples are labelled; says whether it moved."""
    with ws.database.read() as session:
        num_done, num_queued = label_queue.progress(session, round_.id)
    if num_queued and num_done / num_queued < ws.settings.loop.label_share_to_go_on:
        return False
    with ws.database.write() as session:
        rounds.advance(
            session, round_.id, "labelled", {"num_labelled": num_done, "num_asked": num_queued}, now=ws.clock()
        )
    return True
