"""What a version has learnt, through all that it descends from."""

from __future__ import annotations

from sqlalchemy.orm import Session

from db.engine import Database
from db.records import RoundSample
from db.repository import labels, lineage, releases, rounds, samples
from db.rounds import Role
from tests.db.builders import NOW, add_samples, label, later, open_round


def train(session: Session, key: str, parent: int | None, **members: Role) -> None:
    """A version that was made from these samples and accepted."""
    round_ = open_round(session, key, parent)
    rows = [RoundSample(sample_id=id_, role=role) for id_, role in members.items()]
    rounds.add_round_samples(session, round_.id, rows)
    made = releases.create_candidate(session, round_id=round_.id, parent_version=parent, digest=key, now=later(10))
    releases.promote(session, made.version, who="ann", why="", now=later(10), probation=False)
    rounds.close(session, round_.id, "accepted", now=later(10))


def test_a_version_has_learnt_what_its_ancestors_have(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b", "c", "d")
        for id_ in "abcd":
            label(session, id_)
        train(session, "one", None, a="base")
        train(session, "two", 1, a="replay", b="selected", c="validation")
        assert lineage.ancestors(session, 2) == [2, 1]
        assert lineage.ancestors(session, 9) == []
        assert lineage.trained_on(session, 1) == {"a"}
        assert lineage.trained_on(session, 2) == {"a", "b"}


def test_a_sample_with_a_new_label_is_to_be_learnt_again(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")
        label(session, "a")
        train(session, "one", None, a="base")
        labels.add_label(session, "a", "2", "human:ann", now=later(20))
        assert lineage.trained_on(session, 1) == set()


def test_the_fingerprint_changes_with_what_can_be_learnt(database: Database) -> None:
    with database.write() as session:
        seen = [samples.fingerprint(session)]
        add_samples(session, "a", "b")
        seen.append(samples.fingerprint(session))
        label(session, "a")
        seen.append(samples.fingerprint(session))
        label(session, "a", "1")
        seen.append(samples.fingerprint(session))
        samples.quarantine_samples(session, ["b"], now=NOW)
        seen.append(samples.fingerprint(session))
        assert samples.fingerprint(session) == seen[-1]
    assert len(set(seen)) == len(seen)


def test_a_blamed_version_takes_the_labels_that_it_was_not_given_by_its_round_along(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b", "c", "d")
        for id_ in "abcd":
            label(session, id_)
        train(session, "one", None, a="base")
        train(session, "two", 1, a="replay", b="arrived", c="validation")
        releases.rollback(session, 2, who="ann", why="fell", now=later(20))
        assert quarantined(session) == {"b"}
        labels.add_label(session, "b", "2", "human:ann", now=later(30))
        assert quarantined(session) == set()


def test_lifting_a_quarantine_gives_back_the_whole_batch_but_nothing_of_another_round(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b", "c")
        other = open_round(session, "other")
        label(session, "a")
        label(session, "b", round_id=other.id)
        label(session, "c")
        rounds.close(session, other.id, "nothing_to_train", now=NOW)
        rounds.quarantine(session, other.id, who="ann", reason="careless", now=NOW)
        train(session, "one", None, a="base")
        train(session, "two", 1, b="arrived", c="arrived")
        releases.rollback(session, 2, who="ann", why="fell", now=later(20))
        assert quarantined(session) == {"b", "c"}
        blamed = releases.get_release(session, 2).round_id
        assert blamed is not None
        rounds.lift_quarantine(session, blamed, who="ann", why="was fine", now=later(30))
        assert quarantined(session) == {"b"}


def test_a_version_knows_how_many_of_its_labels_were_set_aside_since(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b", "c", "d")
        asking = open_round(session, "asking")
        label(session, "a", round_id=asking.id)
        labels.add_label(session, "d", "0", "human:ann", round_id=asking.id, now=later(15))
        for id_ in "bc":
            label(session, id_)
        rounds.close(session, asking.id, "nothing_to_train", now=NOW)
        train(session, "one", None, a="base", b="base", c="validation", d="unlabelled")
        assert lineage.count_tainted(session, 1) == 0
        rounds.quarantine(session, asking.id, who="ann", reason="careless", now=later(20))
        assert lineage.count_tainted(session, 1) == 1


def quarantined(session: Session) -> set[str]:
    """Samples whose label in force is in quarantine."""
    everything = samples.labelled(session, "train", include_quarantined=True)
    return {entry.sample.id for entry in everything if entry.label.quarantined_at is not None}
