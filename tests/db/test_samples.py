"""Samples: added once, paged without gaps, read with the label in force."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from db.engine import Database
from db.errors import NotFound
from db.records import NewLabel, NewSample
from db.repository import label_queue, labels, samples, tasks
from tests.db.builders import NOW, TASK, add_samples, label, later, sample


def test_adding_again_adds_nothing(database: Database) -> None:
    with database.write() as session:
        tasks.put_task(session, TASK)
        assert samples.add_samples(session, [sample("a"), sample("b")], now=NOW) == (2, 0)
        assert samples.add_samples(session, [sample("b"), sample("c"), sample("c")], now=later(9)) == (1, 2)
        found = samples.get(session, ["c", "a", "unknown", "b"])
    assert [entry.id for entry in found] == ["c", "a", "b"]
    assert found[2].ingested_at == NOW


def test_no_samples_are_no_work(database: Database) -> None:
    with database.write() as session:
        assert samples.add_samples(session, [], now=NOW) == (0, 0)
        assert samples.get(session, []) == []
        assert samples.pool(session) == []
        assert samples.labelled(session, "train") == []


def test_two_samples_under_one_id_are_noticed(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b")
        rows = [sample("a"), sample("b", inputs={"text": "other"}), sample("c")]
        assert samples.differing(session, rows) == ["b"]


def test_what_goes_in_comes_out(database: Database) -> None:
    east = timezone(timedelta(hours=5))
    given = sample("ä→b", item="thing", domain="fr", time=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=east))
    with database.write() as session:
        tasks.put_task(session, TASK)
        samples.add_samples(session, [given], now=NOW)
        (found,) = samples.get(session, ["ä→b"])
    assert (found.item, found.source, found.domain, found.split) == ("thing", "en", "fr", "train")
    assert dict(found.inputs) == dict(given.inputs)
    assert found.time == given.time
    assert found.time is not None
    assert found.time.utcoffset() == timedelta(0)


def test_item_and_domain_have_defaults() -> None:
    given = sample("a", source="camera")
    assert (given.item, given.domain) == ("a", "camera")


def test_a_sample_needs_an_id_and_a_known_split() -> None:
    with pytest.raises(ValueError, match="id is empty"):
        sample("")
    with pytest.raises(ValueError, match="train, val, test"):
        sample("a", split="dev")


def test_a_sample_of_an_unknown_task_is_refused(database: Database) -> None:
    with pytest.raises(NotFound, match="Add that one first"), database.write() as session:
        samples.add_samples(session, [sample("a")], now=NOW)
    with database.read() as session:
        assert samples.list_samples(session) == []


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b"], ids=["NUL", "lone surrogate"])
def test_text_that_no_database_holds_is_refused(database: Database, text: str) -> None:
    with pytest.raises(ValueError, match="NUL"), database.write() as session:
        add_samples(session, "fine", "other", instruction=text)
    with database.read() as session:
        assert samples.list_samples(session) == []


def test_the_pool_is_read_in_pages_without_gaps_or_repeats(database: Database) -> None:
    ids = [f"s{number:03}" for number in range(25)]
    with database.write() as session:
        add_samples(session, *reversed(ids))
    seen: list[str] = []
    while True:
        with database.read() as session:
            page = samples.pool(session, after=seen[-1] if seen else "", limit=10)
        if not page:
            break
        seen += [entry.id for entry in page]
    assert seen == ids


def test_ids_come_in_the_order_of_their_bytes(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "b", "B", "a-1", "a1", "é", "_")
        assert [entry.id for entry in samples.pool(session)] == ["B", "_", "a-1", "a1", "b", "é"]


def test_the_pool_holds_what_nobody_has_labelled_or_is_asked_to(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "free", "labelled", "queued", "aside")
        add_samples(session, "other split", split="test")
        add_samples(session, "french", domain="fr")
        label(session, "labelled")
        label_queue.enqueue(session, ["queued"], round_id=None, now=NOW)
        assert samples.quarantine_samples(session, ["aside"], now=NOW) == 1
        assert samples.quarantine_samples(session, ["aside"], now=NOW) == 0
        assert [entry.id for entry in samples.pool(session)] == ["free", "french"]
        assert samples.count_pool(session) == 2
        assert [entry.id for entry in samples.pool(session, domain="fr")] == ["french"]
        assert [entry.id for entry in samples.pool(session, split="test")] == ["other split"]
        assert samples.pool(session, task="other") == []


def test_labelled_samples_come_with_the_label_in_force(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b")
        add_samples(session, "c", split="val")
        label(session, "a", "0")
        label(session, "a", "2", origin="human:ann")
        label(session, "c", "1")
        (train,) = samples.labelled(session, "train")
        (val,) = samples.labelled(session, "val")
    assert (train.sample.id, train.answer, train.label.origin) == ("a", "2", "human:ann")
    assert (val.sample.id, val.answer) == ("c", "1")


def test_labelled_samples_can_be_read_in_pages_by_domain_and_round(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b", "c", domain="en")
        add_samples(session, "d", domain="fr")
        labels.add_labels(session, [NewLabel(sample_id=id_, answer="0", origin="manifest") for id_ in "abcd"], now=NOW)
        page = samples.labelled(session, "train", after="a", limit=2)
        assert [entry.sample.id for entry in page] == ["b", "c"]
        assert [entry.sample.id for entry in samples.labelled(session, "train", domain="fr")] == ["d"]
        assert samples.labelled(session, "train", round_id=1) == []
        assert samples.count_samples(session) == {("train", "en"): 3, ("train", "fr"): 1}


def test_new_labels_are_counted_since_a_moment(database: Database) -> None:
    with database.write() as session:
        add_samples(session, "a", "b")
        label(session, "a", now=NOW)
        label(session, "b", now=later(10))
        assert samples.count_labelled_since(session) == 2
        assert samples.count_labelled_since(session, NOW) == 1


def test_a_page_of_the_pool_is_read_from_an_index(sqlite_file: object) -> None:
    database = Database(f"sqlite:///{sqlite_file}")
    with database.read() as session:
        plan = session.connection().exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM samples WHERE split = 'train' AND id > 'x' AND quarantined_at IS NULL "
            "AND NOT EXISTS (SELECT 1 FROM labels WHERE sample_id = samples.id AND superseded_at IS NULL) "
            "ORDER BY id LIMIT 10"
        )
        steps = [str(row[3]) for row in plan]
    database.close()
    assert any("USING INDEX ix_samples_split_id" in step for step in steps), steps
    assert not any("TEMP B-TREE" in step or step.startswith("SCAN") for step in steps), steps


def test_twenty_thousand_samples_are_added_in_seconds(database: Database) -> None:
    def stream(num: int) -> list[NewSample]:
        return [sample(f"s{number:06}") for number in range(num)]

    with database.write() as session:
        tasks.put_task(session, TASK)
        assert samples.add_samples(session, iter(stream(20_000)), now=NOW) == (20_000, 0)
        assert samples.add_samples(session, iter(stream(20_000)), now=NOW) == (0, 20_000)
