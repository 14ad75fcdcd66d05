"""What people do at the label queue, and what they contest, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from db.engine import Database
from db.errors import IllegalMove, NotFound
from db.records import Claim
from db.repository import disagreements, label_queue, labelling, labels, retention, rounds, samples, stock
from tests.db.builders import NOW, add_samples, label, later, open_round
from tests.db.together import losers, together, winners


def queued(session: Session, *ids: str, round_id: int | None = None) -> None:
    add_samples(session, *ids)
    label_queue.enqueue(session, ids, round_id=round_id, now=NOW)


def answer(session: Session, given: str, who: str = "ann", seconds: float = 0) -> str:
    entry = label_queue.next_to_label(session, who=who, now=later(seconds))
    assert entry is not None
    return labelling.answer_entry(session, entry.id, given, who=who, now=later(seconds))


def contest(session: Session, sample_id: str, given: str, who: str = "bob", seconds: float = 9) -> int:
    claim = disagreements.claims(session, sample_id)[0]
    return disagreements.disagree(session, sample_id, given, claim=claim, who=who, why="so", now=later(seconds))


def test_undo_reopens_the_entry_for_the_same_person(database: Database) -> None:
    with database.write() as session:
        queued(session, "a", "b")
        assert [answer(session, "1", seconds=1), answer(session, "2", seconds=2)] == ["labelled", "labelled"]
        undone = labelling.undo_last(session, who="ann", now=later(3))
        assert (undone.sample_id, undone.answer) == ("b", "2")
        assert labels.active_label(session, "b") is None
        assert label_queue.next_to_label(session, who="bob", now=later(4)) is None
        again = label_queue.next_to_label(session, who="ann", now=later(4))
        assert again is not None
        assert again.sample_id == "b"
        assert labelling.undo_last(session, who="ann", now=later(5)).sample_id == "a"
        with pytest.raises(IllegalMove, match="no label in force"):
            labelling.undo_last(session, who="ann", now=later(6))


def test_undo_does_not_touch_what_was_never_asked_for_or_is_being_learnt(database: Database) -> None:
    with database.write() as session:
        queued(session, "a")
        label(session, "a", "1", origin="human:ann")
        labels.add_label(session, "a", "2", "human:ann", now=later(1))
        with pytest.raises(IllegalMove, match="did not answer a question"):
            labelling.undo_last(session, who="ann", now=later(2))
        round_ = open_round(session)
        queued(session, "b", round_id=round_.id)
        answer(session, "1", seconds=3)
        rounds.advance(session, round_.id, "labelled", {}, now=later(4))
        with pytest.raises(IllegalMove, match="gone on to train"):
            labelling.undo_last(session, who="ann", now=later(5))
        with pytest.raises(IllegalMove, match="not your last label"):
            labelling.undo_last(session, who="ann", now=later(5), expected=1)


def test_undo_and_an_answer_at_once_leave_one_state(database: Database) -> None:
    with database.write() as session:
        queued(session, "a")
        answer(session, "1", seconds=1)

    def undo() -> str:
        with database.write() as session:
            return labelling.undo_last(session, who="ann", now=later(2)).answer

    done = together([undo, undo, undo])
    assert len(winners(done)) == 1
    assert len(losers(done)) == 2


def test_a_contested_sample_is_neither_learnt_nor_drawn_nor_counted(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b")
        label(session, "a")
        before = samples.fingerprint(session)
        number = contest(session, "a", "1")
        assert samples.labelled(session, "train") == []
        assert samples.count_labelled_since(session) == 0
        assert len(samples.labelled(session, "train", include_quarantined=True)) == 1
        assert samples.fingerprint(session) != before
        disagreements.settle(session, number, "keep", who="cid", why="fine", now=later(10))
        assert [each.answer for each in samples.labelled(session, "train")] == ["0"]
        assert samples.fingerprint(session) == before


def test_everything_open_about_a_sample_is_settled_together(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        label(session, "a")
        number = contest(session, "a", "1", "bob")
        contest(session, "a", "2", "cid")
        with pytest.raises(IllegalMove, match="contested sample a already"):
            contest(session, "a", "2", "cid")
        assert disagreements.count_open(session) == 2
        disagreements.settle(session, number, "replace", who="dan", why="bob is right", now=later(10))
        assert disagreements.count_open(session) == 0
        kept = labels.active_label(session, "a")
        assert kept is not None
        assert (kept.answer, kept.origin) == ("1", "human:bob")
        contest(session, "a", "0", "cid", 11)  # it may be contested anew


def test_only_what_somebody_says_now_can_be_contested(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        label(session, "a")
        claim = Claim(against="label", answer="2", by="manifest", at=NOW)
        with pytest.raises(IllegalMove, match="does not say '2'"):
            disagreements.disagree(session, "a", "1", claim=claim, who="bob", why="so", now=NOW)
        with pytest.raises(ValueError, match="stands there already"):
            disagreements.disagree(session, "a", "2", claim=claim, who="bob", why="so", now=NOW)
        with pytest.raises(NotFound):
            disagreements.disagree(session, "z", "1", claim=claim, who="bob", why="so", now=NOW)
        with pytest.raises(ValueError, match="keep or replace"):
            disagreements.settle(session, 1, "forget", who="bob", why="so", now=NOW)


def test_two_who_settle_at_once_settle_once(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        label(session, "a")
        number = contest(session, "a", "1")

    def settle(outcome: str) -> Callable[[], object]:
        def call() -> object:
            with database.write() as session:
                return disagreements.settle(session, number, outcome, who=outcome, why="so", now=later(20))

        return call

    done = together([settle("keep"), settle("replace")])
    assert len(winners(done)) == 1
    assert "was settled by" in str(losers(done)[0])


def test_a_disagreement_goes_with_its_sample_and_keeps_a_live_one_from_being_forgotten(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        label(session, "a")
        contest(session, "a", "1")
        assert retention.forget_live_samples(session, NOW + timedelta(days=9), limit=10)[0] == 0
        from db.repository import deletion

        deletion.delete_sample(session, "a", who="ann", why="asked", now=NOW)
        assert disagreements.count_open(session) == 0


def test_a_sample_is_set_aside_once_and_sources_count_it(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b")
        stock.set_aside(session, "a", who="ann", why="blurred", now=NOW)
        with pytest.raises(IllegalMove, match="set aside already"):
            stock.set_aside(session, "a", who="ann", why="blurred", now=NOW)
        with pytest.raises(NotFound):
            stock.take_back(session, "z", who="ann", why="fine", now=NOW)
        assert [(row.num_train, row.num_aside) for row in stock.by_source(session)] == [(2, 1)]
        assert stock.reasons(session, ["a", "b"]) == {"a": "blurred"}
        stock.take_back(session, "a", who="ann", why="fine", now=NOW)
        assert stock.quarantined_samples(session) == []


def test_samples_are_found_by_how_their_id_begins_whatever_it_holds(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a%1", "a_2", "ab", "é1", "b")
        assert [sample.id for sample in stock.search(session, id_="a")] == ["a%1", "a_2", "ab"]
        assert [sample.id for sample in stock.search(session, id_="a%")] == ["a%1"]
        assert [sample.id for sample in stock.search(session, id_="é")] == ["é1"]
