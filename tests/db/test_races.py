"""Several at once: whatever the order, exactly one gets what there is one of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from db.engine import Database
from db.errors import IllegalMove
from db.records import Label, NewLabel, OutboxMessage, QueueEntry, Release, Round, Trigger
from db.repository import audit, label_queue, labels, outbox, releases, rounds, samples, triggers
from tests.db.builders import NOW, accepted, add_samples, candidate, on_probation, open_round
from tests.db.together import losers, together, winners

NUM_THREADS = 4


def test_of_many_who_promote_one_version_exactly_one_wins(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        candidate(session, "second", 1)

    def promote() -> Release:
        with database.write() as session:
            return releases.promote(session, 2, who="ann", why="", now=NOW, expect_generation=1)

    results = together([promote] * NUM_THREADS)
    assert len(winners(results)) == 1
    assert all(isinstance(error, IllegalMove) for error in losers(results))
    with database.read() as session:
        assert releases.serving(session).generation == 2
        assert [entry.to_state for entry in audit.history(session, version=2)] == ["candidate", "probation"]


def test_of_two_versions_promoted_at_once_one_is_on_probation(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        for number in range(NUM_THREADS):
            candidate(session, f"round {number}", 1)

    def promoter(version: int) -> Callable[[], Release]:
        def promote() -> Release:
            with database.write() as session:
                return releases.promote(session, version, who="ann", why="", now=NOW)

        return promote

    results = together([promoter(version) for version in range(2, 2 + NUM_THREADS)])
    (winner,) = winners(results)
    with database.read() as session:
        assert [release.version for release in releases.history(session, "probation")] == [winner.version]
        assert releases.serving(session).version == winner.version


def test_a_probation_ends_once_in_one_way(database: Database) -> None:
    with database.write() as session:
        accepted(session)
        on_probation(session, "second", 1)

    def accept() -> Release:
        with database.write() as session:
            return releases.accept(session, 2, who="probation", why="", now=NOW)

    def rollback() -> Release:
        with database.write() as session:
            return releases.rollback(session, 2, who="ann", why="", now=NOW)

    def hold() -> Release:
        with database.write() as session:
            return releases.await_approval(session, 2, who="ann", why="", now=NOW)

    results = together([rollback, rollback, hold, hold])
    (winner,) = winners(results)
    assert winner.state == "rolled_back"
    assert len(winners(together([accept, rollback]))) == 0
    with database.read() as session:
        assert len(audit.history(session, version=2)) == 3
        assert releases.serving(session).version == 1


def test_versions_made_at_once_have_different_numbers_without_gaps(database: Database) -> None:
    with database.write() as session:
        made = []
        for number in range(NUM_THREADS):
            round_, _ = rounds.open_round(
                session, key=str(number), trigger="manual", base_version=None, config={}, snapshot="", now=NOW
            )
            rounds.close(session, round_.id, "tuned", now=NOW)
            made.append(round_.id)

    def maker(round_id: int) -> Callable[[], Release]:
        def make() -> Release:
            with database.write() as session:
                return releases.create_candidate(session, round_id=round_id, parent_version=None, digest="d", now=NOW)

        return make

    results = together([maker(round_id) for round_id in made * 2])
    versions = {release.round_id: release.version for release in winners(results)}
    assert sorted(versions.values()) == [1, 2, 3, 4]
    assert len(winners(results)) == 2 * NUM_THREADS


def test_one_round_is_opened_whoever_asks(database: Database) -> None:
    def opener(key: str) -> Callable[[], tuple[Round, bool]]:
        def call() -> tuple[Round, bool]:
            with database.write() as session:
                return rounds.open_round(
                    session, key=key, trigger="manual", base_version=None, config={}, snapshot="", now=NOW
                )

        return call

    results = winners(together([opener(key) for key in ("a", "a", "b", "c")]))
    assert len(results) == 4
    assert sum(created for _, created in results) == 1
    assert len({round_.id for round_, _ in results}) == 1


def test_no_sample_is_given_to_two_people(database: Database) -> None:
    ids = [f"s{number}" for number in range(NUM_THREADS)]
    with database.write() as session:
        add_samples(session, *ids)
        label_queue.enqueue(session, ids, round_id=None, now=NOW)

    def asker(who: str) -> Callable[[], QueueEntry | None]:
        def ask() -> QueueEntry | None:
            with database.write() as session:
                return label_queue.next_to_label(session, who=who, now=NOW)

        return ask

    results = winners(together([asker(f"person {number}") for number in range(NUM_THREADS)]))
    given = [entry.sample_id for entry in results if entry is not None]
    assert sorted(given) == ids


def test_a_sample_labelled_twice_at_once_has_one_label_in_force(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a")

    def labeller(answer: str) -> Callable[[], Label]:
        def give() -> Label:
            with database.write() as session:
                return labels.add_label(session, "a", answer, f"human:{answer}", now=NOW)

        return give

    assert len(winners(together([labeller(answer) for answer in ("0", "1", "2")]))) == 3
    with database.read() as session:
        history = labels.label_history(session, "a")
    assert len(history) == 3
    assert [entry.superseded_at is None for entry in history] == [False, False, True]
    assert [entry.supersedes_id for entry in history] == [None, history[0].id, history[1].id]


def test_no_label_slips_past_a_quarantine(database: Database) -> None:
    ids = [f"s{number}" for number in range(24)]
    with database.write() as session:
        add_samples(session, *ids)
        round_id = open_round(session).id
        label_queue.enqueue(session, ids, round_id=round_id, now=NOW)

    def label_some(first: int) -> Callable[[], None]:
        def give() -> None:
            for id_ in ids[first::NUM_THREADS]:
                with database.write() as session:
                    labels.add_label(session, id_, "1", "human:ann", now=NOW)

        return give

    def quarantine() -> None:
        with database.write() as session:
            rounds.quarantine(session, round_id, who="ann", reason="careless", now=NOW)

    results = together([quarantine, *(label_some(first) for first in range(NUM_THREADS))])
    assert losers(results) == []
    with database.read() as session:
        given = labels.labels_of_round(session, round_id)
    assert len(given) == len(ids)
    assert all(entry.quarantined_at == NOW for entry in given)


def test_two_who_label_the_same_samples_in_bulk_and_one_by_one_do_not_block(database: Database) -> None:
    ids = [f"s{number:02}" for number in range(30)]
    with database.write() as session:
        add_samples(session, *ids)
        label_queue.enqueue(session, ids, round_id=None, now=NOW)

    def in_bulk(order: list[str]) -> Callable[[], None]:
        def give() -> None:
            with database.write() as session:
                rows = [NewLabel(sample_id=id_, answer="0", origin="manifest") for id_ in order]
                labels.add_labels(session, rows, now=NOW)

        return give

    def one_by_one() -> None:
        for id_ in ids:
            with database.write() as session:
                labels.add_label(session, id_, "2", "human:bob", now=NOW)

    def from_the_queue() -> None:
        while True:
            with database.write() as session:
                entry = label_queue.next_to_label(session, who="ann", now=NOW)
            if entry is None:
                return
            with suppress(IllegalMove), database.write() as session:
                label_queue.give_label(session, entry.id, "1", who="ann", now=NOW)

    assert losers(together([in_bulk(ids), in_bulk(ids[::-1]), one_by_one, from_the_queue])) == []
    with database.read() as session:
        assert len(samples.labelled(session, "train")) == len(ids)
        assert label_queue.list_entries(session) == []


def test_requests_are_taken_by_one(database: Database) -> None:
    def request() -> Trigger:
        with database.write() as session:
            return triggers.request(session, "drift", now=NOW)

    assert len(winners(together([request] * NUM_THREADS))) == NUM_THREADS

    def take() -> tuple[Trigger, ...]:
        with database.write() as session:
            return triggers.take_trigger(session, now=NOW)

    taken = [trigger for group in winners(together([take] * NUM_THREADS)) for trigger in group]
    assert [trigger.num_requests for trigger in taken] == [NUM_THREADS]


def test_a_message_is_claimed_by_one_worker(database: Database) -> None:
    with database.write() as session:
        for number in range(6):
            outbox.put(session, kind="notify", key=str(number), payload={}, now=NOW)

    def claim() -> list[OutboxMessage]:
        with database.write() as session:
            return outbox.claim(session, "notify", now=NOW, limit=3)

    claimed = [message.key for group in winners(together([claim] * NUM_THREADS)) for message in group]
    assert len(claimed) == len(set(claimed))
    with database.write() as session:
        claimed += [message.key for message in outbox.claim(session, "notify", now=NOW)]
    assert sorted(claimed) == [str(number) for number in range(6)]
