"""The log keeps what it may and no more, and forgets in time."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from db.blobs import digest_of
from db.repository import audit, feedback, samples
from flows.pulse import Pulse
from flows.service.config import LOG_MODALITIES, ServiceConfig
from flows.service.log_policy import LogPolicy
from flows.service.log_rows import store
from flows.settings import Settings
from flows.steps.forgetting import Forgotten, forget_old
from flows.workspace import Workspace
from omni_model.data.codecs import CODECS
from tests.flows import homes
from tests.flows.service.entries import entry, logged, num_samples, row
from tests.flows.service.running import running, told


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
