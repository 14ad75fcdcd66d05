"""The label queue: one person a sample, for as long as the lease lasts."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from db.engine import Database
from db.errors import IllegalMove, NotFound
from db.records import QueueEntry
from db.repository import label_queue, labels
from tests.db.builders import NOW, add_samples, later, open_round


def ask(session: Session, who: str, seconds: float = 0, round_id: int | None = None) -> QueueEntry | None:
    return label_queue.next_to_label(session, who=who, now=later(seconds), lease_s=60, round_id=round_id)


def offered(session: Session, who: str, seconds: float = 0) -> str | None:
    entry = ask(session, who, seconds)
    return None if entry is None else entry.sample_id


def prepare(session: Session, *ids: str) -> None:
    add_samples(session, *ids)
    label_queue.enqueue(session, ids, round_id=None, now=NOW)


def test_two_people_get_two_samples(database: Database) -> None:
    with database.write() as session:
        prepare(session, "a", "b")
        assert [offered(session, who) for who in ("ann", "bob", "cid")] == ["a", "b", None]


def test_asking_again_gives_the_same_sample_and_a_longer_lease(database: Database) -> None:
    with database.write() as session:
        prepare(session, "a", "b")
        ask(session, "ann")
        again = ask(session, "ann", 30)
    assert again is not None
    assert (again.sample_id, again.lease_until) == ("a", later(90))


def test_a_lease_that_ran_out_gives_the_sample_to_somebody_else(database: Database) -> None:
    with database.write() as session:
        prepare(session, "a")
        ask(session, "ann")
        assert offered(session, "bob", 59) is None
        assert offered(session, "bob", 60) == "a"


def test_a_higher_priority_comes_first_then_who_waited_longer(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b", "c")
        label_queue.enqueue(session, ["c", "a", "b"], round_id=None, now=NOW, priorities=[0.1, 0.1, 0.9])
        assert [offered(session, who) for who in ("ann", "bob", "cid")] == ["b", "c", "a"]


def test_a_skipped_sample_goes_to_somebody_else(database: Database) -> None:
    with database.write() as session:
        prepare(session, "a")
        entry = ask(session, "ann")
        assert entry is not None
        label_queue.skip(session, entry.id, who="ann", now=NOW)
        label_queue.skip(session, entry.id, who="ann", now=NOW)
        assert offered(session, "ann") is None
        assert offered(session, "bob") == "a"


def test_only_the_holder_gives_up_a_lease(database: Database) -> None:
    with database.write() as session:
        prepare(session, "a")
        entry = ask(session, "ann")
        assert entry is not None
        label_queue.skip(session, entry.id, who="bob", now=NOW)
        assert label_queue.get_entry(session, entry.id).leased_to == "ann"


def test_an_answer_becomes_a_label_of_the_round(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        round_ = open_round(session)
        label_queue.enqueue(session, ["a"], round_id=round_.id, now=NOW)
        entry = ask(session, "ann", round_id=round_.id)
        assert entry is not None
        given = label_queue.give_label(session, entry.id, "2", who="ann", now=later(3))
        assert label_queue.progress(session, round_.id) == (1, 1)
    assert (given.answer, given.origin, given.round_id) == ("2", "human:ann", round_.id)


def test_sending_an_answer_twice_is_one_label(database: Database) -> None:
    with database.write() as session:
        prepare(session, "a")
        entry = ask(session, "ann")
        assert entry is not None
        first = label_queue.give_label(session, entry.id, "2", who="ann", now=NOW)
        assert label_queue.give_label(session, entry.id, "2", who="ann", now=later(1)) == first
        with pytest.raises(IllegalMove, match="labelled already"):
            label_queue.give_label(session, entry.id, "1", who="bob", now=later(2))
        assert len(labels.label_history(session, "a")) == 1


def test_somebody_elses_sample_is_not_answered(database: Database) -> None:
    with database.write() as session:
        prepare(session, "a")
        entry = ask(session, "ann")
        assert entry is not None
        with pytest.raises(IllegalMove, match="with ann until 12:01:00 UTC"):
            label_queue.give_label(session, entry.id, "2", who="bob", now=NOW)


def test_work_is_accepted_after_the_lease_while_nobody_else_has_it(database: Database) -> None:
    with database.write() as session:
        prepare(session, "a")
        entry = ask(session, "ann")
        assert entry is not None
        assert label_queue.give_label(session, entry.id, "2", who="ann", now=later(3600)).answer == "2"


def test_a_sample_waits_once_whoever_asks_for_it(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b")
        round_ = open_round(session)
        assert label_queue.enqueue(session, ["a"], round_id=round_.id, now=NOW) == 1
        assert label_queue.enqueue(session, ["a", "b"], round_id=round_.id, now=NOW) == 1
        assert label_queue.enqueue(session, ["a"], round_id=None, now=NOW) == 0
        labels.add_label(session, "a", "0", "dataset", now=NOW)
        assert label_queue.enqueue(session, ["a"], round_id=round_.id, now=NOW) == 0
        assert [entry.sample_id for entry in label_queue.list_entries(session, is_open=False)] == ["a"]


def test_unknown_samples_and_uneven_priorities_are_refused(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        with pytest.raises(NotFound, match=r"\['x'\]"):
            label_queue.enqueue(session, ["a", "x"], round_id=None, now=NOW)
        with pytest.raises(ValueError, match="1 samples but 2"):
            label_queue.enqueue(session, ["a"], round_id=None, now=NOW, priorities=[1, 2])
        with pytest.raises(NotFound, match="no entry 9"):
            label_queue.skip(session, 9, who="ann", now=NOW)
