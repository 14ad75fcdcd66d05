"""The log writes rarely, at once for whoever waits, and loses no row to another."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from db.blobs import BlobStore
from db.repository import mirrors, releases
from flows.service import prediction_log
from flows.service.log_policy import LogPolicy
from flows.service.log_rows import store
from flows.service.prediction_log import PredictionLog
from flows.workspace import Workspace
from omni_model.serve.exchange import Answer
from tests.flows.service.entries import entry, logged
from tests.flows.service.running import wait_for


@contextmanager
def logging(ws: Workspace, **more: Any) -> Iterator[PredictionLog]:
    log = PredictionLog(ws, **{"max_rows": 1000, "max_bytes": 10**6, **more})
    try:
        yield log
    finally:
        log.close()


def slow_to_gather(patch: pytest.MonkeyPatch, seconds: float = 30.0) -> None:
    patch.setattr(prediction_log, "GATHER_S", seconds)


def test_the_log_gathers_and_writes_at_once_for_whoever_waits(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_to_gather(monkeypatch)
    with logging(ws) as log:
        for number in range(5):
            assert log.add(entry(f"p{number}"))
        time.sleep(0.1)
        assert log.counts().num_written == 0
        assert log.wait_for("p3", 5)
        assert log.counts().num_written == 5
        assert log.wait_for("p3", 0)
        log.add(entry("last"))
    assert logged(ws, "last") is not None


def test_a_full_chunk_does_not_wait(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_to_gather(monkeypatch)
    monkeypatch.setattr(prediction_log, "CHUNK_ROWS", 8)
    with logging(ws) as log:
        for number in range(8):
            log.add(entry(f"p{number}"))
        wait_for(lambda: log.counts().num_written == 8, 5)


def test_a_row_that_cannot_be_logged_fails_alone(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    slow_to_gather(monkeypatch)
    with logging(ws) as log:
        for id_ in ("a", "b"):
            log.add(entry(id_))
        log.add(entry("no such version", version=99))
        assert log.wait_for("b", 10)
        assert (log.counts().num_written, log.counts().num_failed) == (2, 1)


def second(id_: str, version: int = 2) -> Answer:
    return entry(id_, version=version).answer


def candidate(ws: Workspace) -> None:
    with ws.database.write() as session:
        releases.create_candidate(session, round_id=None, parent_version=1, digest="d", now=ws.clock())


def num_mirrored(ws: Workspace) -> int:
    with ws.database.read() as session:
        return mirrors.agreement(session, 2, 1).num_both


def test_a_second_answer_that_comes_first_waits_for_its_prediction(ws: Workspace) -> None:
    candidate(ws)
    with logging(ws) as log:
        log.add_mirror(entry("p").answer, second("p"))
        time.sleep(0.5)
        assert log.counts().num_mirrors_written == 0
        log.add(entry("p"))
        wait_for(lambda: log.counts().num_mirrors_written == 1, 5)
    assert num_mirrored(ws) == 1


def test_a_second_answer_to_what_is_not_logged_is_counted_and_dropped(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate(ws)
    monkeypatch.setattr(prediction_log, "MIRROR_WAIT_S", 0.2)
    with logging(ws, policy=LogPolicy(share=0.0)) as log:
        log.add_mirror(entry("never").answer, second("never"))
        log.add(entry("out"))
        log.add_mirror(entry("out").answer, second("out"))
        assert log.counts().num_mirrors_lost == 1
        wait_for(lambda: log.counts().num_mirrors_lost == 2, 5)
    assert num_mirrored(ws) == 0


def test_bytes_that_are_deleted_while_they_are_logged_are_stored_again(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were found in the store, and went with another sample before the row that names them was there."""
    digest = ws.blobs.put(b"tres")
    real = BlobStore.put_many

    def deleted_after(self: BlobStore, data: Any) -> list[str]:
        digests = real(self, data)
        self.delete(digest)
        return digests

    monkeypatch.setattr(BlobStore, "put_many", deleted_after)
    store(ws, [entry("p")], LogPolicy())
    assert ws.blobs.get(digest) == b"tres"
