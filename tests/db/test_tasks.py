"""The answers of a task are only ever added to."""

from __future__ import annotations

import pytest

from db.engine import Database
from db.errors import NotFound
from db.records import Task
from db.repository import tasks
from tests.db.builders import TASK


def test_answers_are_added_at_the_end_only(database: Database) -> None:
    wider = Task(name="digit", instructions=("Read it.",), answers=("0", "1", "2", "3"))
    with database.write() as session:
        tasks.put_task(session, TASK)
        tasks.put_task(session, TASK)
        assert tasks.put_task(session, wider) == wider
        assert tasks.list_tasks(session) == [wider]
        for answers in (("0", "1"), ("1", "0", "2", "3"), ("0", "2", "1", "3", "4")):
            with pytest.raises(ValueError, match="Keep the known ones in their order"):
                tasks.put_task(session, Task(name="digit", instructions=("Read it.",), answers=answers))


@pytest.mark.parametrize("answers", [(), ("0",), ("0", "0")])
def test_a_task_needs_two_different_answers(database: Database, answers: tuple[str, ...]) -> None:
    with database.write() as session, pytest.raises(ValueError, match="two or more different"):
        tasks.put_task(session, Task(name="digit", instructions=("Read it.",), answers=answers))


def test_an_unknown_task_is_told_with_the_known_ones(database: Database) -> None:
    with database.write() as session:
        tasks.put_task(session, TASK)
        with pytest.raises(NotFound, match="there are: digit"):
            tasks.get_task(session, "sign")
