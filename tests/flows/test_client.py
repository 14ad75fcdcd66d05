"""The client: typed answers from a real service, tries again only where that does no harm, and loads nothing heavy."""

import asyncio
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from db.keys import new_key
from db.repository import keys, labels
from flows.client import AsyncClient, Client, ErrorOut, PredictOut, Remote, ServiceError
from flows.workspace import Workspace
from omni_model.data.codecs import CODECS
from omni_model.sample import Sample
from tests.flows.service.running import running

ROOT = Path(__file__).parents[2]


@pytest.fixture
def served(ws: Workspace) -> Iterator[str]:
    """The address of a running service."""
    with running(ws) as (http, _):
        yield str(http.base_url).rstrip("/")


def test_it_predicts_and_gives_feedback(served: str, ws: Workspace, arriving: list[Sample], tmp_path: Path) -> None:
    sample = next(sample for sample in arriving if {"image", "text", "audio"} == set(sample.inputs))
    file = tmp_path / "seven.png"
    file.write_bytes(CODECS["image"].encode(sample.inputs["image"]))
    audio = CODECS["audio"].encode(sample.inputs["audio"])
    with Client(served, trust_env=False) as client:
        said = client.predict("digit", {"text": "tres", "image": file, "audio": audio}, domain="es", budget=1.0)
        assert said.modalities.received == ["audio", "image", "text"]
        assert sum(said.probabilities.values()) == pytest.approx(1, abs=1e-4)
        assert client.feedback(said.prediction, "3", who="ann").new
        assert not client.feedback(said.prediction, "3", who="ann").new
        good = {"task": "digit", "inputs": {"text": "dos"}}
        first, refused = client.predict_batch([good, {"task": "colour", "inputs": {"text": "red"}}])
        assert isinstance(first, PredictOut)
        assert isinstance(refused, ErrorOut)
        kept = client.ingest(
            [
                {"task": "digit", "inputs": {"text": "dos!"}, "answer": "2"},
                {"task": "digit", "inputs": {"image": b"no image"}},
            ]
        )
        assert [row.state for row in kept.samples] == ["new", "refused"]
        assert client.versions().answering == 1
        assert client.version(1).state == "accepted"
        assert client.health().version == 1
    with ws.database.read() as session:
        label = labels.active_label(session, kept.samples[0].id or "")
    assert label is not None
    assert label.answer == "2"


def test_a_refusal_is_one_exception_with_all_that_was_said(served: str, ws: Workspace) -> None:
    with Client(served, trust_env=False) as client:
        for call, status in (
            (lambda: client.predict("colour", {"text": "red"}), 422),
            (lambda: client.predict("digit", {"image": Remote(uri="file:///etc/hostname")}), 422),
            (lambda: client.feedback("none", "1"), 404),
            (lambda: client.version(9), 404),
            (lambda: client.approve(1, why="x"), 409),
            (lambda: client.reject(1, why="x"), 409),
            (lambda: client.rollback(1, why="x"), 409),
        ):
            with pytest.raises(ServiceError) as refused:
                call()
            assert refused.value.status == status
            assert refused.value.fact
            assert refused.value.mend
            assert refused.value.request_id
        with pytest.raises(ServiceError, match="deadline_s"):
            client.predict("digit", {"text": "tres"}, deadline_s=-1)
        key, stored = new_key("app", ("predict",))
        with ws.database.write() as session:
            keys.add_key(session, stored, who="ann", now=ws.clock())
    time.sleep(0.6)  # a running service knows of keys within a second
    with Client(served, key=key, trust_env=False) as client:
        assert client.predict("digit", {"text": "tres"}).version == 1
        with pytest.raises(ServiceError, match="has not the scope") as refused:
            client.feedback("none", "1")
        assert refused.value.status == 403


def test_the_asynchronous_client_does_the_same(served: str) -> None:
    async def ask() -> None:
        async with AsyncClient(served, trust_env=False) as client:
            said = await asyncio.gather(*(client.predict("digit", {"text": "tres"}) for _ in range(8)))
            assert len({answer.prediction for answer in said}) == 8
            assert (await client.feedback(said[0].prediction, "3")).new
            assert len(await client.predict_batch([{"task": "digit", "inputs": {"text": "dos"}}])) == 1
            kept = await client.ingest([{"task": "digit", "inputs": {"text": "dos"}}])
            assert kept.num_refused == 0
            assert (await client.versions()).answering == 1
            assert (await client.health()).status == "ready"
            with pytest.raises(ServiceError):
                await client.feedback("none", "1")

    asyncio.run(ask())


Outcome = httpx.Response | type[httpx.TransportError]


def scripted(*outcomes: Outcome) -> tuple[Client, list[httpx.Request], list[float]]:
    """A client of a service that does what it is told, with what it was asked and how long was waited between."""
    seen: list[httpx.Request] = []
    waited: list[float] = []
    script = iter(outcomes)

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        outcome = next(script)
        if isinstance(outcome, httpx.Response):
            return outcome
        raise outcome("broken")

    transport = httpx.MockTransport(answer)
    return Client("http://x", transport=transport, sleep=waited.append, chance=lambda: 0.5), seen, waited


def busy(**headers: str) -> httpx.Response:
    return httpx.Response(503, headers={name.replace("_", "-"): value for name, value in headers.items()})


PREDICTION = httpx.Response(
    200,
    json={
        "prediction": "p", "task": "t", "answer": "a", "probability": 1, "probabilities": {"a": 1},
        "uncertainty": {"one_minus_max": 0, "entropy": 0}, "version": 1, "generation": 1,
        "modalities": {"received": [], "used": [], "ignored": {}}, "more": "of a later release",
        "latency_s": {"queue": 0, "decode": 0, "encode": 0, "fuse": 0, "total": 0},
    },
)  # fmt: skip


def predict(client: Client) -> object:
    return client.predict("t", {"text": "x"}).answer


@pytest.mark.parametrize(
    "outcome", [httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadError, busy(), httpx.Response(429)]
)
def test_what_did_no_harm_is_tried_again_with_growing_pauses(outcome: Outcome) -> None:
    client, seen, waited = scripted(outcome, outcome, PREDICTION)
    assert predict(client) == "a"
    assert waited == pytest.approx([0.1, 0.2])
    assert len({request.headers["x-request-id"] for request in seen}) == 1


def test_a_service_that_says_when_is_asked_then() -> None:
    client, _, waited = scripted(busy(Retry_After="2"), PREDICTION)
    assert predict(client) == "a"
    assert waited == pytest.approx([2.1])
    client, seen, waited = scripted(busy(Retry_After="3600"))
    with pytest.raises(ServiceError):
        predict(client)
    assert (len(seen), waited) == (1, [])


@pytest.mark.parametrize(
    ("outcome", "call"),
    [
        (httpx.ReadTimeout, predict),
        (httpx.Response(500), predict),
        (httpx.Response(422), predict),
        (httpx.Response(504), predict),
        (httpx.ReadError, lambda client: client.approve(1, why="x")),
        (httpx.RemoteProtocolError, lambda client: client.rollback(1, why="x")),
    ],
)
def test_what_may_have_been_done_or_never_will_be_is_not_tried_again(
    outcome: Outcome, call: Callable[[Client], object]
) -> None:
    client, seen, _ = scripted(outcome)
    with pytest.raises(ServiceError) as refused:
        call(client)
    assert len(seen) == 1
    assert refused.value.status == (outcome.status_code if isinstance(outcome, httpx.Response) else 0)


def test_it_gives_up_after_its_tries() -> None:
    client, seen, waited = scripted(*[httpx.ConnectError] * 4)
    with pytest.raises(ServiceError, match="could not be asked: ConnectError"):
        predict(client)
    assert (len(seen), len(waited)) == (4, 3)


def test_not_ready_is_an_answer() -> None:
    client, seen, _ = scripted(httpx.Response(503, content=b'{"status": "not ready", "reason": "no version"}'))
    assert client.health().reason == "no version"
    assert len(seen) == 1


def test_an_answer_of_another_kind_is_told_as_such() -> None:
    client, _, _ = scripted(httpx.Response(200, content=b"<html>"), httpx.Response(502, content=b"<html>"))
    with pytest.raises(ServiceError, match="has not the form of PredictOut"):
        predict(client)
    with pytest.raises(ServiceError, match="The service answers 502"):
        predict(client)


def test_a_key_from_a_file_is_taken_without_its_last_newline() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json={"status": "ready"})

    for client_of in (Client, AsyncClient):
        client_of("http://x", key="omni_abc\n", transport=httpx.MockTransport(answer))
    with Client("http://x", key="\tomni_abc\r\n", transport=httpx.MockTransport(answer)) as client:
        client.health()
    assert seen == ["Bearer omni_abc"]


@pytest.mark.parametrize("key", ["omni_secret\nmore", "omni_secret\x00", "omni_ключ_secret", "omni_secret two"])
def test_a_key_that_is_none_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII") as refused:
        Client(key=key)
    assert "secret" not in "".join(traceback.format_exception(refused.value)).replace(repr(key), "")
    assert "secret" not in str(refused.value)


def test_what_http_does_not_like_is_not_quoted() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.LocalProtocolError(f"Illegal header value {request.headers['authorization']!r}")

    with (
        Client("http://x", key="omni_secret", transport=httpx.MockTransport(answer)) as client,
        pytest.raises(ServiceError, match="could be sent") as refused,
    ):
        client.health()
    assert "omni_secret" not in "".join(traceback.format_exception(refused.value)).replace('key="omni_secret"', "")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda client: client.predict("t", {"text": "x"}, budget=7), "budget"),
        (lambda client: client.predict("t", {"text": "x"}, budget=float("nan")), "budget"),
        (lambda client: client.predict("t", {"text": "x"}, colour="red"), "colour"),
        (lambda client: client.predict("t", {}), "inputs"),
        (lambda client: client.predict("t", {"text": 3}), "inputs.text"),
        (lambda client: client.predict("t", "seven"), "cannot be sent"),
        (lambda client: client.predict("t", {"text": "\udc00"}), "cannot be sent|unicode"),
        (lambda client: client.predict("t", {"image": Path("/nowhere/x.png")}), "/nowhere/x.png cannot be read"),
        (lambda client: client.predict("t", {"image": ROOT}), "is a directory"),
        (lambda client: client.predict_batch([]), "samples"),
        (lambda client: client.predict_batch(["seven"]), "cannot be sent"),
        (lambda client: client.feedback("", "7"), "prediction"),
        (lambda client: client.ingest([]), "samples"),
        (lambda client: client.ingest([{"task": "t", "inputs": {"image": ROOT / "none.png"}}]), "no such file"),
        (lambda client: client.ingest([{"task": "t", "inputs": {"image": object()}}]), "cannot be sent"),
        (lambda client: client.version("three"), "cannot be sent"),
        (lambda client: client.approve(1, why=3), "why"),
    ],
)
def test_what_cannot_be_sent_is_told_like_what_is_refused(call: Callable[[Client], object], said: str) -> None:
    client, seen, _ = scripted()
    with pytest.raises(ServiceError, match=said) as refused:
        call(client)
    error = refused.value
    assert (error.status, seen) == (0, [])
    assert error.fact.endswith(".")
    assert error.mend.endswith(".")


def test_it_loads_nothing_of_the_model_and_no_database() -> None:
    command = [sys.executable, "-X", "importtime", "-c", "import flows.client"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "httpx" in loaded
    heavy = {"torch", "numpy", "pandas", "sqlalchemy", "fastapi", "starlette", "prefect", "mlflow", "omni_model", "db"}
    assert not loaded & heavy
