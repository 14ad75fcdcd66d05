"""Tasks and their answer sets."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from db.errors import NotFound
from db.models import TaskRow
from db.records import Task
from db.repository.common import insert_into, listed, rows_of, write


def put_task(session: Session, task: Task) -> Task:
    """Add a task, or new wordings or answers of one. Known answers keep their place, since models were trained on it:
    `ValueError` if one would move or go.
    """
    if len(set(task.answers)) < 2 or len(set(task.answers)) != len(task.answers):
        raise ValueError(f"Task {task.name}: answers must be two or more different texts, got {task.answers!r}.")
    values: dict[str, Any] = {"instructions": list(task.instructions), "answers": list(task.answers)}
    write(session, insert_into(session, TaskRow).on_conflict_do_nothing().values(name=task.name, **values))
    known = get_task(session, task.name)
    if task.answers[: len(known.answers)] != known.answers:
        raise ValueError(
            f"Task {task.name} has the answers {listed(known.answers)}; got {listed(task.answers)}. "
            "Keep the known ones in their order and add new ones at the end, or give the task a new name."
        )
    if task != known:
        write(session, update(TaskRow).where(TaskRow.name == task.name).values(**values))
    return task


def get_task(session: Session, name: str) -> Task:
    """The task of this name; `NotFound` if there is none."""
    row = session.execute(rows_of(TaskRow).where(TaskRow.name == name)).mappings().first()
    if row is None:
        known = listed([task.name for task in list_tasks(session)])
        raise NotFound(f"There is no task {name!r}; there are: {known}. Add it with put_task().")
    return _record(dict(row))


def list_tasks(session: Session) -> list[Task]:
    """All tasks by name."""
    return [_record(dict(row)) for row in session.execute(rows_of(TaskRow).order_by(TaskRow.name)).mappings()]


def check_answer(task: Task, answer: str, *, of: str) -> None:
    """`ValueError` unless the answer is one of the task's. `of` names what is answered, for the message."""
    if answer not in task.answers:
        shown = listed(task.answers[:20]) + (" ..." if len(task.answers) > 20 else "")
        raise ValueError(f"{of}: {answer!r} is no answer of task {task.name}. Give one of: {shown}.")


def _record(row: dict[str, Any]) -> Task:
    return Task(name=row["name"], instructions=tuple(row["instructions"]), answers=tuple(row["answers"]))
