"""What the log kept long enough goes, oldest first and in pieces; what anything needs stays."""

from __future__ import annotations

from sqlalchemy.orm import Session

from db.blobs import digest_of
from db.engine import Database
from db.records import NewMirror, RoundSample
from db.repository import feedback, ingests, label_queue, mirrors, predictions, retention, rounds, samples
from tests.db.builders import NOW, accepted, add_samples, candidate, label, later, log_prediction, open_round

OWN, SHARED = digest_of(b"own"), digest_of(b"shared")


def live(number: int) -> str:
    """The id of a sample that live traffic brought."""
    return f"live-{number:032x}"


def prepare(session: Session) -> None:
    add_samples(session, "s")
    accepted(session)


def test_answers_without_feedback_go_in_pieces_oldest_first(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        candidate(session, "second", 1)
        for id_ in ("a", "b", "c", "right"):
            log_prediction(session, id_, 1)
        mirrors.log(
            session, [NewMirror(prediction_id="a", version=2, answer="0", confidence=1.0, latency_s=0.1)], now=NOW
        )
        feedback.add(session, "right", "0", origin="human:ann", now=NOW)
        assert retention.forget_predictions(session, NOW, limit=10) == 0
        assert retention.forget_predictions(session, later(1), limit=2) == 2
        assert [row.id for row in predictions.between(session, NOW, later(1))] == ["c", "right"]
        assert mirrors.agreement(session, 2, 1).num_both == 0
        assert retention.forget_predictions(session, later(1), limit=2) == 1
        assert retention.forget_predictions(session, later(1), limit=2) == 0


def test_samples_that_only_live_traffic_brought_go_with_their_bytes(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        ingests.add_blobs(session, [(OWN, 3, "text/plain"), (SHARED, 6, "text/plain")], now=NOW)
        add_samples(session, live(1), inputs={"image": OWN, "text": SHARED})
        add_samples(session, "live-by-hand", "other", inputs={"text": SHARED})
        assert retention.forget_live_samples(session, NOW, limit=10) == (0, ())
        assert retention.forget_live_samples(session, later(1), limit=10) == (1, (OWN,))
        assert retention.forget_live_samples(session, later(1), limit=10) == (0, ())
        assert [row.id for row in samples.list_samples(session)] == ["live-by-hand", "other", "s"]
        assert set(ingests.get_blobs(session, [OWN, SHARED])) == {SHARED}


def test_bytes_that_two_old_samples_share_go_with_the_last_of_them(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        add_samples(session, live(1), live(2), inputs={"text": SHARED})
        assert retention.forget_live_samples(session, later(1), limit=1) == (1, ())
        assert retention.forget_live_samples(session, later(1), limit=1) == (1, (SHARED,))


def test_a_live_sample_that_anything_needs_stays(database: Database) -> None:
    with database.write() as session:
        prepare(session)
        add_samples(session, *(live(number) for number in range(5)))
        label(session, live(0))
        label_queue.enqueue(session, [live(1)], round_id=None, now=NOW)
        round_ = open_round(session, "round", 1)
        rounds.add_round_samples(session, round_.id, [RoundSample(sample_id=live(2), role="unlabelled")])
        log_prediction(session, "p", 1, sample_id=live(3))
        assert retention.forget_live_samples(session, later(1), limit=10)[0] == 1
        assert [row.id for row in samples.list_samples(session)] == [*(live(number) for number in range(4)), "s"]
        assert retention.forget_predictions(session, later(1), limit=10) == 1
        assert retention.forget_live_samples(session, later(1), limit=10)[0] == 1
