"""The life of a release: allowed and refused moves, and what each leaves behind."""

from __future__ import annotations

import pytest

from db.engine import Database
from db.errors import GenerationMoved, IllegalMove, NotFound
from db.records import AuditEntry, OutboxMessage
from db.releases import MOVES, STATES, is_allowed
from db.repository import audit, labels, outbox, releases, rounds, samples
from tests.db.builders import NOW, accepted, add_samples, candidate, label, later, on_probation, open_round


def trail(database: Database, version: int | None = None) -> list[AuditEntry]:
    with database.read() as session:
        return audit.history(session, version=version)


def messages(database: Database, kind: str) -> list[OutboxMessage]:
    with database.read() as session:
        return outbox.waiting(session, kind)


def test_every_state_but_the_first_can_be_reached_and_two_are_final() -> None:
    reached = {state for targets in MOVES.values() for state in targets}
    assert reached == set(STATES) - {"candidate"}
    assert {state for state in STATES if not MOVES[state]} == {"rejected", "rolled_back"}
    assert not any(is_allowed(state, state) for state in STATES)


def test_versions_are_counted_from_one_without_gaps(database: Database) -> None:
    with database.write() as session:
        versions = [candidate(session, f"round {n}").version for n in range(4)]
    assert versions == [1, 2, 3, 4]


def test_a_round_has_one_candidate_however_often_it_asks(database: Database) -> None:
    for _ in range(2):
        with database.write() as session:
            round_ = rounds.resume_target(session) or open_round(session)
            release = releases.create_candidate(
                session, round_id=round_.id, parent_version=None, digest="a", now=NOW, metrics={"loss": float("nan")}
            )
            assert (release.version, release.metrics) == (1, {"loss": None})
    with database.read() as session:
        assert len(releases.history(session)) == 1
    assert len(trail(database)) == 1


def test_a_version_whose_transaction_failed_leaves_no_gap(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            candidate(session, "lost")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        fail()
    with database.write() as session:
        assert candidate(session, "kept").version == 1


def test_the_first_promotion_is_accepted_and_served(database: Database) -> None:
    with database.write() as session:
        release = accepted(session)
        serving = releases.serving(session)
    assert (release.state, release.generation) == ("accepted", 1)
    assert (serving.version, serving.previous_version, serving.generation, serving.updated_at) == (1, None, 1, NOW)


def test_nothing_is_served_before_the_first_promotion(database: Database) -> None:
    with database.read() as session:
        serving = releases.serving(session)
        assert releases.last_accepted(session) is None
    assert (serving.version, serving.generation) == (None, 0)


def test_probation_needs_a_version_to_fall_back_to(database: Database) -> None:
    with database.write() as session:
        release = candidate(session, "first")
        with pytest.raises(IllegalMove, match="probation=False"):
            releases.promote(session, release.version, who="ann", why="", now=NOW)
        assert releases.serving(session).generation == 0


def test_a_promotion_writes_one_audit_line_and_its_messages(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        release = candidate(session, "second", 1)
        releases.promote(session, release.version, who="gate", why="better", numbers={"accuracy": 0.9}, now=later(5))
        serving = releases.serving(session)
    assert (serving.version, serving.previous_version, serving.generation) == (2, 1, 2)
    born, moved = trail(database, 2)
    assert (born.from_state, born.to_state) == (None, "candidate")
    assert (moved.from_state, moved.to_state, moved.who, moved.why) == ("candidate", "probation", "gate", "better")
    assert (moved.at, moved.numbers) == (later(5), {"accuracy": 0.9})
    told = [message.payload for message in messages(database, "notify") if message.payload["version"] == 2]
    assert [payload["to_state"] for payload in told] == ["probation"]
    aliases = [message.key for message in messages(database, "mlflow_alias") if message.payload["version"] == 2]
    assert aliases == ["mlflow_alias:release:2:candidate", "mlflow_alias:release:2:probation"]


def test_an_accepted_probation_stays_in_service_in_its_generation(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        on_probation(session, "second", 1)
        releases.accept(session, 2, who="probation", why="held", now=NOW)
        serving, last = releases.serving(session), releases.last_accepted(session)
    assert (serving.version, serving.generation) == (2, 2)
    assert last is not None
    assert last.version == 2


def test_a_rollback_returns_to_the_last_accepted_version(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        accepted(session, "second", 1)
        on_probation(session, "third", 2)
        releases.rollback(session, 3, who="probation", why="fell", now=NOW)
        serving = releases.serving(session)
    assert (serving.version, serving.previous_version, serving.generation) == (2, 1, 4)


def test_a_rollback_happens_once_per_incident(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        on_probation(session, "second", 1)
        releases.rollback(session, 2, who="probation", why="fell", now=NOW)
    before = (trail(database), messages(database, "notify"), messages(database, "mlflow_alias"))
    with database.write() as session, pytest.raises(IllegalMove, match="rolled_back"):
        releases.rollback(session, 2, who="ann", why="again", now=NOW)
    assert before == (trail(database), messages(database, "notify"), messages(database, "mlflow_alias"))
    with database.read() as session:
        assert releases.serving(session).generation == 3


def test_a_person_may_take_back_an_accepted_version(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        accepted(session, "second", 1)
        release = releases.rollback(session, 2, who="ann", why="complaints", now=NOW)
        serving = releases.serving(session)
    assert release.state == "rolled_back"
    assert (serving.version, serving.previous_version, serving.generation) == (1, None, 3)


def test_the_only_accepted_version_cannot_be_taken_back(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        with pytest.raises(IllegalMove, match="no other accepted version"):
            releases.rollback(session, 1, who="ann", why="", now=NOW)


def test_a_version_out_of_service_cannot_be_taken_back(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        accepted(session, "second", 1)
        with pytest.raises(IllegalMove, match="version 2 is"):
            releases.rollback(session, 1, who="ann", why="", now=NOW)


def test_a_second_promotion_waits_for_the_end_of_the_probation(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        on_probation(session, "second", 1)
        candidate(session, "third", 1)
        for probation in (True, False):
            with pytest.raises(IllegalMove, match="accept or roll back version 2"):
                releases.promote(session, 3, who="ann", why="", now=NOW, probation=probation)
        releases.rollback(session, 2, who="ann", why="", now=NOW)
        assert releases.promote(session, 3, who="ann", why="", now=NOW).state == "probation"


def test_a_candidate_compared_with_an_older_version_is_not_promoted(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        on_probation(session, "second", 1)
        candidate(session, "third", 1)
        releases.accept(session, 2, who="ann", why="", now=NOW)
        with pytest.raises(IllegalMove, match="version 2 has been accepted since"):
            releases.promote(session, 3, who="ann", why="", now=NOW)


def test_a_version_on_probation_is_not_promoted_again(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        on_probation(session, "second", 1)
        for probation in (True, False):
            with pytest.raises(IllegalMove, match="probation"):
                releases.promote(session, 2, who="ann", why="", now=NOW, probation=probation)
        assert releases.serving(session).previous_version == 1


def test_a_child_of_a_version_taken_back_is_not_promoted(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        accepted(session, "second", 1)
        candidate(session, "third", 2)
        releases.rollback(session, 2, who="ann", why="", now=NOW)
        with pytest.raises(IllegalMove, match="descends from version 2"):
            releases.promote(session, 3, who="ann", why="", now=NOW)
        assert releases.reject(session, 3, who="ann", why="parent gone", now=NOW).state == "rejected"


def test_a_version_that_learnt_from_quarantined_data_is_not_promoted(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        release = candidate(session, "second", 1)
        assert release.round_id is not None
        rounds.quarantine(session, release.round_id, who="ann", reason="wrong camera", now=NOW)
        with pytest.raises(IllegalMove, match="lift the quarantine first"):
            releases.promote(session, 2, who="gate", why="", now=NOW)
        rounds.lift_quarantine(session, release.round_id, who="ann", why="was fine", now=NOW)
        assert releases.promote(session, 2, who="gate", why="", now=NOW).state == "probation"


def test_a_round_starts_from_an_accepted_version_only(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        candidate(session, "second", 1)
        releases.reject(session, 2, who="gate", why="worse", now=NOW)
        with pytest.raises(IllegalMove, match="last accepted"):
            open_round(session, "third", 2)
        with pytest.raises(NotFound):
            open_round(session, "third", 9)
        last = releases.last_accepted(session)
    assert last is not None
    assert last.version == 1


def test_a_stale_decision_is_refused(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        seen = releases.serving(session).generation
        accepted(session, "second", 1)
        candidate(session, "third", 2)
        with pytest.raises(GenerationMoved, match=f"generation 2, expected {seen}"):
            releases.promote(session, 3, who="ann", why="", now=NOW, expect_generation=seen)
        assert releases.promote(session, 3, who="ann", why="", now=NOW, expect_generation=2).state == "probation"
        with pytest.raises(GenerationMoved):
            releases.rollback(session, 3, who="ann", why="", now=NOW, expect_generation=2)


@pytest.mark.parametrize("blame", ["reject", "rollback"])
def test_a_blamed_version_quarantines_its_round_and_labels_until_lifted(database: Database, blame: str) -> None:
    with database.write() as session:
        add_samples(session, "a", "b")
        label(session, "a")
        accepted(session)
        round_ = open_round(session, "second", 1)
        label(session, "b", "1", origin="human:ann", round_id=round_.id)
        releases.create_candidate(session, round_id=round_.id, parent_version=1, digest="d", now=NOW)
        rounds.close(session, round_.id, "registered", now=NOW)
        if blame == "rollback":
            releases.promote(session, 2, who="gate", why="", now=NOW)
            releases.rollback(session, 2, who="probation", why="fell by 9 %", now=NOW)
        else:
            releases.reject(session, 2, who="gate", why="fell by 9 %", now=NOW)
        blamed = rounds.get_round(session, round_.id)
        assert "fell by 9 %" in str(blamed.quarantine_reason)
        assert [entry.sample.id for entry in samples.labelled(session, "train")] == ["a"]
        everything = samples.labelled(session, "train", include_quarantined=True)
        assert [entry.sample.id for entry in everything] == ["a", "b"]
        assert samples.pool(session) == []
        rounds.lift_quarantine(session, round_.id, who="ann", why="looked at it", now=NOW)
        assert [entry.sample.id for entry in samples.labelled(session, "train")] == ["a", "b"]
        with pytest.raises(IllegalMove, match="not in quarantine"):
            rounds.lift_quarantine(session, round_.id, who="ann", why="again", now=NOW)
    assert [entry.action for entry in trail(database) if entry.subject == "round"] == ["lift_quarantine"]


def test_a_label_that_comes_late_for_a_blamed_round_is_quarantined_too(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b")
        round_ = open_round(session)
        releases.create_candidate(session, round_id=round_.id, parent_version=None, digest="d", now=NOW)
        releases.reject(session, 1, who="gate", why="worse", now=NOW)
        late = labels.add_label(session, "a", "1", "human:ann", now=NOW, round_id=round_.id)
    assert late.quarantined_at == NOW


def test_approval_is_a_state_of_its_own(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        candidate(session, "second", 1)
        assert releases.await_approval(session, 2, who="gate", why="unsure", now=NOW).state == "awaiting_approval"
        assert releases.serving(session).version == 1
        assert releases.promote(session, 2, who="ann", why="looks right", now=NOW).state == "probation"
    assert "awaiting_approval" in {message.payload["to_state"] for message in messages(database, "notify")}


def test_a_refused_move_names_the_state_and_the_allowed_ones(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        candidate(session, "second", 1)
        releases.reject(session, 2, who="gate", why="", now=NOW)
        for move in (releases.promote, releases.accept, releases.reject, releases.rollback, releases.await_approval):
            with pytest.raises(IllegalMove, match=r"Version 2 is rejected.*none, it is final"):
                move(session, 2, who="ann", why="", now=NOW)
    assert len(trail(database, 2)) == 2


def test_only_a_probation_ends_in_acceptance(database: Database) -> None:
    with database.write() as session:
        candidate(session, "first")
        with pytest.raises(IllegalMove, match="promote it first"):
            releases.accept(session, 1, who="ann", why="", now=NOW)


def test_a_move_needs_a_name(database: Database) -> None:
    with database.write() as session:
        candidate(session, "first")
    with pytest.raises(ValueError, match="Say who"), database.write() as session:
        releases.reject(session, 1, who=" ", why="", now=NOW)
    with database.read() as session:
        assert releases.get_release(session, 1).state == "candidate"


def test_an_unknown_version_is_told_as_such(database: Database) -> None:
    with database.write() as session, pytest.raises(NotFound, match="no version 7"):
        releases.promote(session, 7, who="ann", why="", now=NOW)


def test_what_mlflow_says_is_added_without_losing_anything(database: Database) -> None:
    with database.write() as session:
        candidate(session, "first")
        releases.set_mlflow(session, 1, run_id="run")
        releases.set_mlflow(session, 1, mlflow_version="4")
        releases.add_metrics(session, 1, {"accuracy": 0.5})
        release = releases.add_metrics(session, 1, {"ece": 0.1})
    assert (release.mlflow_run_id, release.mlflow_version) == ("run", "4")
    assert release.metrics == {"accuracy": 0.5, "ece": 0.1}
