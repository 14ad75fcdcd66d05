"""The label queue: how far it is, who holds what, who has labelled how many."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from dashboards.pages import Nothing, Page
from dashboards.site import Visit
from db.records import LabellerTally, QueueEntry, QueueProgress
from db.repository import disagreements, labelling, tasks

RECENT = timedelta(hours=24)


@dataclass(frozen=True, kw_only=True)
class Queue:
    """The queue at a glance."""

    progress: list[QueueProgress]
    held: list[QueueEntry]
    tallies: list[LabellerTally]
    num_waiting: int
    num_done: int
    num_contested: int
    """Disagreements that wait to be settled."""
    tasks: list[str]


def queue(visit: Visit, asked: Nothing) -> Queue:
    """Progress by round and task, leases in force, and the people."""
    num_done, num_queued = labelling.count_queue(visit.session)
    return Queue(
        progress=labelling.progress_by_task(visit.session, now=visit.now),
        held=labelling.held_now(visit.session, now=visit.now),
        tallies=labelling.tallies(visit.session, since=visit.now - RECENT),
        num_waiting=num_queued - num_done,
        num_done=num_done,
        num_contested=disagreements.count_open(visit.session),
        tasks=[task.name for task in tasks.list_tasks(visit.session)],
    )


PARTS = (Page(path="/labels", title="Label queue", template="labels.html", build=queue, topics=("labels", "rounds")),)
