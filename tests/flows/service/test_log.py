"""The log keeps what it may, and no more; it writes rarely, at once for whoever waits, and loses no row to another."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from db.blobs import BlobStore, digest_of
from db.records import Prediction
from db.repository import audit, feedback, mirrors, predictions, releases, samples
from flows.pulse import Pulse
from flows.service import prediction_log
from flows.service.config import LOG_MODALITIES, ServiceConfig
from flows.service.log_policy import LogPolicy
from flows.service.log_rows import Entry, store
from flows.service.prediction_log import PredictionLog
from flows.settings import Settings
from flows.steps.forgetting import Forgotten, forget_old
from flows.workspace import Workspace
from omni_model.data.codecs import CODECS
from omni_model.serve.exchange import Answer, Latency, Request
from tests.flows import homes
from tests.flows.service.running import running, told, wait_for

LATENCY = Latency(queue_s=0.1, decode_s=0.1, encode_s=0.1, fuse_s=0.1)


def entry(id_: str, *, version: int = 1, content: Mapping[str, bytes] | None = None, **more: Any) -> Entry:
    content = {"text": b"tres"} if content is None else content
    request = Request(id=id_, task="digit", content=content, key=more.pop("key", ""), instruction=more.pop("said", ""))
    answer = Answer(
        id=id_,
        version=version,
        generation=1,
        task="digit",
        instruction="Which digit?",
        answer="3",
        probabilities={"3": 0.75, "4": 0.25},
        received=tuple(sorted(content)),
        used=tuple(sorted(content)),
        ignored={},
        latency=LATENCY,
    )
    return Entry(request=request, answer=answer, instruction="Which digit?", **more)


def logged(ws: Workspace, id_: str) -> Prediction | None:
    with ws.database.read() as session:
        return predictions.get(session, id_)


def row(ws: Workspace, id_: str) -> Prediction:
    found = logged(ws, id_)
    assert found is not None
    return found


def num_samples(ws: Workspace) -> int:
    with ws.database.read() as session:
        return sum(samples.count_samples(session).values())


@contextmanager
def logging(ws: Workspace, **more: Any) -> Iterator[PredictionLog]:
    log = PredictionLog(ws, **{"max_rows": 1000, "max_bytes": 10**6, **more})
    try:
        yield log
    finally:
        log.close()


def slow_to_gather(patch: pytest.MonkeyPatch, seconds: float = 30.0) -> None:
    patch.setattr(prediction_log, "GATHER_S", seconds)


# What is kept


def test_the_log_can_leave_out_every_modality_that_there_is() -> None:
    assert set(LOG_MODALITIES) == set(CODECS)


def test_a_share_takes_the_same_keys_and_the_same_content_each_time() -> None:
    policy = LogPolicy(share=0.3)
    by_key = [policy.takes(entry(f"{n}", key=f"client {n}").request) for n in range(1000)]
    assert by_key == [policy.takes(entry("x", key=f"client {n}", content={}).request) for n in range(1000)]
    assert 220 < sum(by_key) < 380
    by_content = [policy.takes(entry("x", content={"text": b"%d" % n}).request) for n in range(1000)]
    assert by_content == [policy.takes(entry("y", content={"text": b"%d" % n}).request) for n in range(1000)]
    assert 220 < sum(by_content) < 380


@pytest.mark.parametrize("name", ["image", "text"])
def test_a_modality_that_is_left_out_leaves_nothing_of_its_content(ws: Workspace, name: str) -> None:
    content = {"text": b"my address", "image": b"my face"}
    before = num_samples(ws)
    store(ws, [entry("p", content=content)], LogPolicy(omit=frozenset([name])))
    assert (row(ws, "p").sample_id, row(ws, "p").modalities) == (None, ("image", "text"))
    assert num_samples(ws) == before
    assert not any(ws.blobs.exists(digest_of(data)) for data in content.values())
    raw = (ws.home / "omniloop.db").read_bytes() + (ws.home / "omniloop.db-wal").read_bytes()
    assert not any(word in raw for data in content.values() for word in (data, digest_of(data).encode()))


def test_an_answer_that_does_not_rest_on_what_is_left_out_keeps_its_sample(ws: Workspace) -> None:
    store(ws, [entry("p")], LogPolicy(omit=frozenset(["image"])))
    assert row(ws, "p").sample_id is not None


def test_fields_that_are_left_out_are_empty_and_make_no_part_of_an_id(ws: Workspace) -> None:
    given: dict[str, Any] = {
        "source": "clinic",
        "domain": "ward",
        "item": "patient 7",
        "request_id": "r-1",
        "key": "ann",
    }
    everything = frozenset(given)
    store(ws, [entry("kept", **given)], LogPolicy())
    store(ws, [entry("left out", **given)], LogPolicy(omit=everything))
    store(ws, [entry("another", **{**given, "item": "patient 8"})], LogPolicy(omit=everything))
    kept, left_out = row(ws, "kept"), row(ws, "left out")
    assert (kept.domain, kept.detail["request_id"], kept.detail["key"]) == ("ward", "r-1", "ann")
    assert left_out.domain == ""
    assert not {"request_id", "key"} & set(left_out.detail)
    assert left_out.sample_id == row(ws, "another").sample_id != kept.sample_id
    with ws.database.read() as session:
        (sample,) = samples.get(session, [left_out.sample_id or ""])
    assert (sample.source, sample.domain, sample.item) == ("", "", sample.id)


def test_an_instruction_of_ones_own_that_is_left_out_takes_the_sample_along(ws: Workspace) -> None:
    policy = LogPolicy(omit=frozenset(["instruction"]))
    store(ws, [entry("own", said="Which digit does Ann say?"), entry("usual")], policy)
    assert (row(ws, "own").sample_id is None, row(ws, "usual").sample_id is None) == (True, False)


def test_feedback_on_what_is_not_logged_says_so_with_the_mend(
    ws: Workspace,
) -> None:
    quiet = replace(ws.settings.service, log_share=0.0)
    with running(ws.with_(settings=ws.settings.model_copy(update={"service": quiet}))) as (client, live):
        said = client.post("/v1/predict", json={"task": "digit", "inputs": {"text": "tres"}}).json()
        refused = client.post("/v1/feedback", json={"prediction": said["prediction"], "answer": "3"})
        assert refused.status_code == 404
        assert "keeps a share of 0 of the answers" in told(refused)["fact"]
        assert "OMNI_SERVICE__LOG_SHARE" in told(refused)["mend"]
        assert live.log.counts().num_sampled_out == 1
        assert "omniloop_log_sampled_out_total 1.0" in client.get("/metrics").text
        assert logged(ws, said["prediction"]) is None


def test_settings_of_the_log_are_checked() -> None:
    for wrong, name in (
        ({"log_share": 1.5}, "OMNI_SERVICE__LOG_SHARE"),
        ({"log_days": -1}, "OMNI_SERVICE__LOG_DAYS"),
        ({"log_omit": ("face",)}, "OMNI_SERVICE__LOG_OMIT"),
    ):
        with pytest.raises(ValueError, match=name):
            ServiceConfig(**wrong)


def test_what_is_left_out_is_set_as_a_list(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNI_SERVICE__LOG_OMIT", '["image", "key"]')
    monkeypatch.setenv("OMNI_SERVICE__LOG_SHARE", "0.25")
    config = Settings.load().service
    assert (config.log_omit, config.log_share) == (("image", "key"), 0.25)


# How it is written


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


# How it is forgotten


def test_old_answers_go_with_the_samples_that_only_they_brought(ws: Workspace) -> None:
    """Feedback keeps its answer and the sample behind it; nothing goes while no days are set."""
    before = num_samples(ws)
    rows = [entry(f"p{number}", content={"text": b"said %d" % number}) for number in range(4)]
    store(ws, rows, LogPolicy())
    with ws.database.write() as session:
        feedback.add(session, "p0", "3", origin="human:ann", now=ws.clock())
    assert not Pulse(ws).forget()
    kept = replace(ws.settings.service, log_days=30.0)
    later = ws.with_(
        settings=ws.settings.model_copy(update={"service": kept}),
        clock=homes.Clock(ws.clock() + timedelta(days=29)),
    )
    assert forget_old(later) == Forgotten()
    later = later.with_(clock=homes.Clock(ws.clock() + timedelta(days=31)))
    assert Pulse(later).forget()
    assert [logged(ws, f"p{number}") is not None for number in range(4)] == [True, False, False, False]
    assert num_samples(ws) == before + 1
    assert [ws.blobs.exists(digest_of(b"said %d" % number)) for number in range(4)] == [True, False, False, False]
    with ws.database.read() as session:
        (line,) = audit.history(session, subject="log")
    assert (line.who, line.numbers) == ("retention", {"num_predictions": 3, "num_samples": 3, "num_blobs": 3})
    assert forget_old(later) == Forgotten()
