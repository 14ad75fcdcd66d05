"""A deleted sample leaves nothing behind but a line in the audit trail, and the versions that learnt it are named."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from db.blobs import digest_of
from db.engine import Database
from db.errors import NotFound
from db.models import Base
from db.records import NewFault, NewMirror, NewPair, RoundSample
from db.repository import (
    audit,
    deletion,
    feedback,
    ingests,
    label_queue,
    mirrors,
    probation,
    releases,
    rounds,
    samples,
)
from tests.db.builders import NOW, accepted, add_samples, label, log_prediction, open_round

SHARED, OWN = digest_of(b"shared"), digest_of(b"own")


def rows_that_mention(database: Database, word: str) -> dict[str, int]:
    """How many rows of each table hold the word anywhere."""
    found: dict[str, int] = {}
    with database.read() as session:
        for name in Base.metadata.tables:
            rows = session.execute(text(f"SELECT * FROM {name}")).all()
            num = sum(word in str(tuple(row)) for row in rows)
            if num:
                found[name] = num
    return found


def learn(database: Database) -> None:
    """v1 learns `secret`, v2 descends from v1, v3 only validates on it."""
    with database.write() as session:
        add_samples(session, "secret", inputs={"image": OWN, "text": SHARED})
        add_samples(session, "other", inputs={"text": SHARED})
        ingests.add_blobs(session, [(OWN, 3, "image/png"), (SHARED, 4, "text/plain")], now=NOW)
        for key, parent, role in (("one", None, "base"), ("two", 1, "replay"), ("three", 1, "validation")):
            round_ = open_round(session, key, parent)
            sample_id = "other" if key == "two" else "secret"
            rounds.add_round_samples(session, round_.id, [RoundSample(sample_id=sample_id, role=role)])  # type: ignore[arg-type]
            releases.create_candidate(session, round_id=round_.id, parent_version=parent, digest=key, now=NOW)
            if key == "one":
                releases.promote(session, 1, who="ann", why="", now=NOW, probation=False)
            rounds.close(session, round_.id, "registered", now=NOW)
        label(session, "secret", "0")
        label(session, "secret", "1", origin="human:ann")
        label_queue.enqueue(session, ["secret"], round_id=None, now=NOW)
        entry = label_queue.next_to_label(session, who="ann", now=NOW)
        assert entry is not None
        label_queue.skip(session, entry.id, who="ann", now=NOW)
        log_prediction(session, "p", 1, sample_id="secret")
        mirrored = NewMirror(prediction_id="p", version=2, answer="1", confidence=0.5, latency_s=0.1)
        assert mirrors.log(session, [mirrored], now=NOW) == []
        feedback.add(session, "p", "0", origin="human:ann", now=NOW)
        probation.add_pairs(
            session, 1, [NewPair(key=key, new_correct=True, old_correct=True) for key in ("p", "x")], now=NOW
        )
        ingests.add_faults(session, [NewFault(manifest="m", line=1, sample_id="secret", reason="twice")], now=NOW)


def test_nothing_is_left_of_a_deleted_sample_but_the_audit_line(database: Database) -> None:
    learn(database)
    assert len(rows_that_mention(database, "secret")) >= 6
    with database.write() as session:
        gone = deletion.delete_sample(session, "secret", who="ann", why="asked to", now=NOW)
    assert (gone.trained_versions, gone.derived_versions) == ((1,), (2, 3))
    assert (gone.blobs, gone.num_labels, gone.num_predictions, gone.num_rounds) == ((OWN,), 2, 1, 2)
    assert gone.num_mirrors == 1
    assert rows_that_mention(database, "'p'") == {}
    assert rows_that_mention(database, "secret") == {"audit": 1}
    assert rows_that_mention(database, OWN) == {}
    assert set(rows_that_mention(database, SHARED)) == {"samples", "blobs"}
    with database.read() as session:
        assert [pair.key for pair in probation.pairs(session, 1)] == ["x"]
        assert [entry.id for entry in samples.list_samples(session)] == ["other"]
        (line,) = audit.history(session, subject="sample")
    assert (line.who, line.why, line.numbers["trained_versions"]) == ("ann", "asked to", [1])


def test_a_sample_that_was_never_used_goes_quietly(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        accepted(session)
        gone = deletion.delete_sample(session, "a", who="ann", why="", now=NOW)
        assert (gone.trained_versions, gone.derived_versions, gone.num_rounds) == ((), (), 0)
        with pytest.raises(NotFound, match="no sample 'a'"):
            deletion.delete_sample(session, "a", who="ann", why="", now=NOW)


def test_bytes_are_named_by_every_sample_that_uses_them(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", inputs={"image": OWN, "text": SHARED})
        add_samples(session, "b", inputs={"text": SHARED})
        assert deletion.named(session, [OWN, SHARED, "x"]) == {OWN, SHARED}
        assert deletion.named(session, [OWN, SHARED], without=["a"]) == {SHARED}
        assert deletion.unnamed(session, [SHARED, OWN], without=["a", "b"]) == tuple(sorted([OWN, SHARED]))
        assert deletion.unnamed(session, []) == ()
