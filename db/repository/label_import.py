"""Labels that come from elsewhere, all of them or none.

What nobody has answered is labelled; what differs from somebody else's label is contested, never overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from db.errors import NotFound
from db.label_studio import Annotation, ImportRefused
from db.records import Claim, Label, StoredSample, Task
from db.repository import audit, disagreements, label_queue, samples
from db.repository.common import MANY_IDS, in_chunks
from db.repository.labels import active_label, active_labels, add_label, close_entries, hold_samples
from db.repository.tasks import check_answer, get_task, list_tasks

WHY = "an import says something else"


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What came of an import."""

    num_new: int = 0
    num_known: int = 0
    """The label in force says the same already."""
    num_contested: int = 0
    """Somebody else's label says something else: recorded as a disagreement, to be settled."""

    def __str__(self) -> str:
        return f"{self.num_new} new labels, {self.num_known} known already, {self.num_contested} contested"


def store(session: Session, rows: Sequence[Annotation], *, who: str, name: str, now: datetime) -> Imported:
    """Take the answers of an import called `name`. Where the file does not say who annotated, it was `who`.

    `ImportRefused` tells, row by row, which samples are unknown and which answers are none; then nothing is stored.
    """
    known = tasks_of(session, rows)
    if faults := _faults(rows, known):
        raise ImportRefused(faults, len(rows))
    came = [_take(session, row, who=row.annotator or who, now=now) for row in rows]
    done = Imported(num_new=came.count("new"), num_known=came.count("known"), num_contested=came.count("contested"))
    numbers = {"num_new": done.num_new, "num_known": done.num_known, "num_contested": done.num_contested}
    audit.add(session, who=who, action="import", subject="label", subject_id=name, numbers=numbers, now=now)
    return done


def tasks_of(session: Session, rows: Sequence[Annotation]) -> dict[str, Task]:
    """The task of each sample that exists; nobody else labels these samples before the transaction ends."""
    ids = sorted({row.sample_id for row in rows})
    names = {id_: task for chunk in in_chunks(ids, MANY_IDS) for id_, task in hold_samples(session, chunk).items()}
    found = {name: get_task(session, name) for name in set(names.values())}
    return {id_: found[name] for id_, name in names.items()}


def waiting(session: Session, task: str) -> tuple[Task, list[tuple[StoredSample, Label | None]]]:
    """A task and its samples that wait for a label, with the label in force of those that are asked again."""
    entries = [entry for entry in label_queue.list_entries(session) if entry.task == task]
    found = samples.get(session, [entry.sample_id for entry in entries])
    known = active_labels(session, [sample.id for sample in found])
    return get_task(session, task), [(sample, known.get(sample.id)) for sample in found]


def labelled(session: Session, task: str, *, limit: int) -> tuple[Task, list[tuple[StoredSample, Label | None]]]:
    """A task and its samples with a label in force, of all splits, by id."""
    found = [
        (entry.sample, entry.label)
        for split in ("train", "val", "test")
        for entry in samples.labelled(session, split, task=task, limit=limit)
    ]
    return get_task(session, task), [(sample, label) for sample, label in found[:limit]]


def first_task(session: Session, name: str) -> str:
    """The task of this name; without a name, the only one. `NotFound`, `ValueError` if there are several."""
    if name:
        return get_task(session, name).name
    names = [task.name for task in list_tasks(session)]
    if not names:
        raise NotFound("There is no task yet. Add one with `omniloop data add-task`.")
    if len(names) > 1:
        raise ValueError(f"There are the tasks {', '.join(names)}. Name one.")
    return names[0]


def _faults(rows: Sequence[Annotation], known: dict[str, Task]) -> list[str]:
    faults = []
    for row in rows:
        if row.sample_id not in known:
            faults.append(f"task {row.row}: there is no sample {row.sample_id!r}")
            continue
        try:
            check_answer(known[row.sample_id], row.answer, of=f"task {row.row}, sample {row.sample_id}")
        except ValueError as error:
            faults.append(str(error))
    return faults


def _take(session: Session, row: Annotation, *, who: str, now: datetime) -> str:
    label, origin = active_label(session, row.sample_id), f"human:{who}"
    if label is None or (label.origin == origin and label.answer != row.answer):
        add_label(session, row.sample_id, row.answer, origin, now=now)
        return "new"
    if label.answer == row.answer:
        close_entries(session, [row.sample_id], now)
        return "known"
    mine = [each for each in disagreements.list_disagreements(session, sample_ids=[row.sample_id]) if each.who == who]
    if mine:
        return "known"
    claim = Claim(against="label", answer=label.answer, by=label.origin, at=label.created_at)
    disagreements.disagree(session, row.sample_id, row.answer, claim=claim, who=who, why=WHY, now=now)
    return "contested"
