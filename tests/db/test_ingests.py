"""An ingest goes on where it stopped, and a row that could not be read is kept with its reason."""

from __future__ import annotations

import pytest

from db.engine import Database
from db.errors import IllegalMove, NotFound
from db.records import NewFault
from db.repository import ingests
from tests.db.builders import NOW, later


def test_a_killed_ingest_goes_on_where_it_stopped(database: Database) -> None:
    with database.write() as session:
        assert ingests.start_ingest(session, "m", path="a.jsonl", now=NOW).next_line == 0
        ingests.advance_ingest(session, "m", from_line=0, next_line=100, num_new=90, num_faults=10, now=NOW)
    with database.write() as session:
        again = ingests.start_ingest(session, "m", path="moved.jsonl", now=later(60))
        assert (again.next_line, again.path, again.started_at) == (100, "a.jsonl", NOW)
        ingests.advance_ingest(session, "m", from_line=100, next_line=150, num_known=50, now=later(60))
        done = ingests.finish_ingest(session, "m", now=later(61))
        assert ingests.finish_ingest(session, "m", now=later(99)) == done
        assert ingests.list_ingests(session) == [done]
    assert (done.next_line, done.num_new, done.num_known, done.num_faults) == (150, 90, 50, 10)
    assert done.finished_at == later(61)


def test_two_readers_of_one_manifest_do_not_both_advance(database: Database) -> None:
    with database.write() as session:
        ingests.start_ingest(session, "m", path="a.jsonl", now=NOW)
        ingests.advance_ingest(session, "m", from_line=0, next_line=10, now=NOW)
        with pytest.raises(IllegalMove, match="stands at line 10, not 0"):
            ingests.advance_ingest(session, "m", from_line=0, next_line=20, now=NOW)
        with pytest.raises(ValueError, match="forward"):
            ingests.advance_ingest(session, "m", from_line=10, next_line=5, now=NOW)


def test_an_ingest_that_never_began_is_told_as_such(database: Database) -> None:
    with database.write() as session, pytest.raises(NotFound, match="never ingested"):
        ingests.finish_ingest(session, "m", now=NOW)


def test_a_bad_row_is_set_aside_once_whatever_it_holds(database: Database) -> None:
    fault = NewFault(manifest="m", line=3, sample_id="a\0", reason="not an image: \ud800", raw="x\0" * 9_000)
    with database.write() as session:
        assert ingests.add_faults(session, [fault, NewFault(manifest="m", line=7, reason="no task")], now=NOW) == 2
        assert ingests.add_faults(session, [fault], now=NOW) == 0
        first, second = ingests.list_faults(session, manifest="m")
        assert ingests.list_faults(session, after=first.id) == [second]
        assert ingests.list_faults(session, manifest="other") == []
    assert (first.sample_id, first.reason, len(first.raw)) == ("a\ufffd", "not an image: ?", ingests.MAX_RAW_CHARS)
    assert (second.sample_id, second.raw) == (None, "")


def test_a_fault_that_is_tried_again_makes_room_for_its_new_reason(database: Database) -> None:
    with database.write() as session:
        for manifest in ("m", "other"):
            faults = [NewFault(manifest=manifest, line=line, reason="no such task") for line in (3, 7)]
            ingests.add_faults(session, faults, now=NOW)
        assert ingests.forget_faults(session, "m", [3, 7, 8]) == 2
        assert ingests.add_faults(session, [NewFault(manifest="m", line=7, reason="no answer")], now=NOW) == 1
        assert [fault.reason for fault in ingests.list_faults(session, manifest="m")] == ["no answer"]
        assert len(ingests.list_faults(session, manifest="other")) == 2


def test_blobs_are_noted_once(database: Database) -> None:
    with database.write() as session:
        assert ingests.add_blobs(session, [("aa", 3, "image/png"), ("bb", 2**40, "")], now=NOW) == 2
        assert ingests.add_blobs(session, [("aa", 3, "image/png")], now=NOW) == 0
        assert ingests.get_blobs(session, ["bb", "cc"])["bb"].size == 2**40
        assert ingests.list_blobs(session, after="aa") == ["bb"]
