"""Labels are only added: the latest is in force, and every earlier one can be looked up."""

from __future__ import annotations

import pytest

from db.engine import Database
from db.errors import NotFound
from db.records import NewLabel
from db.repository import label_queue, labels, rounds, samples
from tests.db.builders import NOW, add_samples, label, later, open_round


def new(sample_id: str, answer: str = "0") -> NewLabel:
    return NewLabel(sample_id=sample_id, answer=answer, origin="manifest")


def test_a_later_label_supersedes_and_the_history_stays(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        first = labels.add_label(session, "a", "0", "manifest", now=NOW)
        second = labels.add_label(session, "a", "1", "human:ann", now=later(5))
        history = labels.label_history(session, "a")
        assert labels.active_label(session, "a") == second
    assert [entry.answer for entry in history] == ["0", "1"]
    assert history[0].superseded_at == later(5)
    assert second.supersedes_id == first.id


def test_a_retry_of_a_label_adds_nothing(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        first = labels.add_label(session, "a", "0", "human:ann", now=NOW)
        assert labels.add_label(session, "a", "0", "human:ann", now=later(5)) == first
        assert len(labels.label_history(session, "a")) == 1


def test_a_person_who_confirms_is_remembered(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        label(session, "a", "0")
        assert labels.add_label(session, "a", "0", "human:ann", now=NOW).origin == "human:ann"


def test_an_answer_outside_the_set_is_refused_and_nothing_is_kept(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b")
    told = r"'seven' is no answer of task digit. Give one of: 0, 1, 2"
    with pytest.raises(ValueError, match=told), database.write() as session:
        labels.add_label(session, "a", "seven", "human:ann", now=NOW)
    with pytest.raises(ValueError, match="Sample b"), database.write() as session:
        labels.add_labels(session, [new("a"), new("b", "seven")], now=NOW)
    with database.read() as session:
        assert samples.labelled(session, "train") == []


def test_a_label_for_an_unknown_sample_is_refused(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        with pytest.raises(NotFound, match="no sample 'x'"):
            labels.add_label(session, "x", "0", "human:ann", now=NOW)
        with pytest.raises(NotFound, match="no sample 'x'"):
            labels.add_labels(session, [new("a"), new("x")], now=NOW)


def test_reading_a_manifest_again_never_overrules_a_person(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b")
        assert labels.add_labels(session, [new("a"), new("b")], now=NOW) == 2
        labels.add_label(session, "a", "2", "human:ann", now=NOW)
        assert labels.add_labels(session, [new("a"), new("b"), new("b", "1")], now=later(5)) == 0
        assert [entry.answer for entry in samples.labelled(session, "train")] == ["2", "0"]


def test_a_label_closes_the_request_for_it_and_belongs_to_its_round(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b", "c")
        round_ = open_round(session)
        label_queue.enqueue(session, ["a", "b", "c"], round_id=round_.id, now=NOW)
        assert labels.add_label(session, "a", "0", "dataset", now=NOW).round_id == round_.id
        labels.add_labels(session, [new("b")], now=NOW)
        assert label_queue.progress(session, round_.id) == (2, 3)
        assert [entry.sample_id for entry in labels.labels_of_round(session, round_.id)] == ["a", "b"]
        assert [entry.sample_id for entry in label_queue.list_entries(session)] == ["c"]


def test_labels_that_come_in_bulk_for_a_quarantined_round_are_quarantined(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        round_ = open_round(session)
        rounds.quarantine(session, round_.id, who="ann", reason="wrong camera", now=NOW)
        given = NewLabel(sample_id="a", answer="0", origin="dataset", round_id=round_.id)
        labels.add_labels(session, [given], now=NOW)
        assert samples.labelled(session, "train") == []


def test_a_new_label_takes_a_sample_out_of_quarantine(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        round_ = open_round(session)
        label(session, "a", "0", round_id=round_.id)
        rounds.quarantine(session, round_.id, who="ann", reason="careless", now=NOW)
        assert samples.labelled(session, "train") == []
        label(session, "a", "1", origin="human:bob")
        assert [entry.answer for entry in samples.labelled(session, "train")] == ["1"]
