"""Bad input, full queues and strangers: a 4xx or 503 with the fact, the value and the mend; never a 500."""

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.service.live import LiveService
from tests.flows.service.running import running, told, wait_for

GOOD = {"task": "digit", "inputs": {"text": "tres"}}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "fact"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "should be an object"),
        ("null", "should be an object"),
        ("[" * 100_000, "JSON"),
        ({"task": "digit"}, "inputs: Field required"),
        ({**GOOD, "task": False}, "task: Input should be a valid string"),
        ({**GOOD, "task": "colour"}, "knows no task 'colour'"),
        ({**GOOD, "task": "a\nb"}, "task: "),
        ({**GOOD, "inputs": {}}, "inputs: "),
        ({**GOOD, "inputs": []}, "inputs: "),
        ({**GOOD, "inputs": {"text": 7}}, "inputs.text"),
        ({**GOOD, "inputs": {"text": ""}}, "text: The text is empty"),
        ({**GOOD, "inputs": {"text": "a\0b"}}, "NUL"),
        ({**GOOD, "inputs": {"smell": "rose"}}, "a plain string is text"),
        ({**GOOD, "inputs": {"smell": {"base64": ""}}}, "Unknown modality 'smell'"),
        ({**GOOD, "inputs": {"image": "plain"}}, "a plain string is text"),
        ({**GOOD, "inputs": {"image": {"base64": "§"}}}, "inputs.image.base64"),
        ({**GOOD, "inputs": {"image": {"base64": "aGVsbG8="}}}, "image: "),
        ({**GOOD, "inputs": {"image": {"base64": "", "uri": "file:///etc/passwd"}}}, "inputs.image"),
        ({**GOOD, "inputs": {"audio": {"base64": ""}}}, "audio: "),
        ({**GOOD, "inputs": {"sensor": {"base64": "AAAA"}}}, "No modality of the request can be used"),
        ({**GOOD, "deadline_s": True}, "deadline_s"),
        ({**GOOD, "deadline_s": -1}, "deadline_s"),
        ({**GOOD, "deadline_s": "5"}, "deadline_s"),
        ({**GOOD, "color": "red"}, "color: Extra inputs are not permitted"),
        ({**GOOD, "domain": "x" * 1000}, "domain"),
        ('{"task": "digit", "inputs": {"text": "\\ud800"}}', ""),
        (b'{"task": "\xff"}', "JSON"),
    ],
)
def test_a_bad_body_is_refused_with_fact_value_and_mend(refusing: httpx.Client, body: Any, fact: str) -> None:
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    response = refusing.post("/v1/predict", content=content, headers=JSON)
    assert response.status_code == 422, response.text
    assert fact in told(response)["fact"]


@pytest.mark.parametrize("path", ["/v1/predict/batch", "/v1/feedback"])
@pytest.mark.parametrize("body", ["", "{}", "[]", '{"samples": []}', '{"prediction": 1, "answer": false}'])
def test_other_bodies_are_refused_alike(refusing: httpx.Client, path: str, body: str) -> None:
    told(refusing.post(path, content=body, headers=JSON))


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/plain", b"{}", 415),
        ("", b"{}", 415),
        ("multipart/form-data", b"--x", 422),
        ("multipart/form-data; boundary=x", b"", 422),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n", 422),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="task"\r\n\r\ndigit\r\n--x--',
            422,
        ),
    ],
)
def test_other_types_and_broken_forms_are_refused(refusing: httpx.Client, kind: str, body: bytes, status: int) -> None:
    response = refusing.post("/v1/predict", content=body, headers={"Content-Type": kind})
    assert response.status_code == status, response.text
    told(response)


def test_what_is_not_there_or_not_allowed_says_so(refusing: httpx.Client) -> None:
    assert refusing.get("/v1/nothing").status_code == 404
    told(refusing.get("/v1/nothing"))
    assert refusing.get("/v1/predict").status_code == 405
    told(refusing.get("/v1/predict"))


def test_pages_of_other_origins_are_refused(refusing: httpx.Client) -> None:
    for site in ("cross-site", "same-site"):
        response = refusing.post("/v1/predict", json=GOOD, headers={"Sec-Fetch-Site": site})
        assert response.status_code == 403
        told(response)
    assert refusing.post("/v1/predict", json=GOOD, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_request_ids_come_back_if_they_are_plain(refusing: httpx.Client) -> None:
    assert refusing.get("/health/live", headers={"X-Request-ID": "abc-1"}).headers["X-Request-ID"] == "abc-1"
    odd = refusing.post("/v1/predict", json={}, headers={"X-Request-ID": "a b<script>"})
    assert odd.headers["X-Request-ID"] == told(odd)["request_id"] != "a b<script>"


@pytest.fixture
def limited(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets limits of the service."""

    def set_(**limits: object) -> None:
        for name, value in limits.items():
            monkeypatch.setenv(f"OMNI_SERVICE__{name.upper()}", str(value))

    return set_


def test_a_body_over_the_limit_is_refused_declared_or_not(
    limited: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    limited(max_body_bytes=1000)
    with running(request.getfixturevalue("ws")) as (client, _):
        large = json.dumps({**GOOD, "instruction": "x" * 2000}).encode()
        assert client.post("/v1/predict", content=large, headers=JSON).status_code == 413
        pieces = (large[start : start + 100] for start in range(0, len(large), 100))
        response = client.post("/v1/predict", content=pieces, headers=JSON)
        assert response.status_code == 413
        told(response)
        assert client.post("/v1/predict", json=GOOD).status_code == 200


def test_with_a_key_only_health_is_open(limited: Callable[..., None], request: pytest.FixtureRequest) -> None:
    limited(api_key="0123456789abcdef")
    with running(request.getfixturevalue("ws")) as (client, _):
        assert client.get("/health/ready").status_code == 200
        for path in ("/v1/versions", "/metrics", "/v1/openapi.json"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
            assert client.get(path, headers={"Authorization": "Bearer 0123456789abcdef"}).status_code == 200
        told(client.post("/v1/predict", json=GOOD))


def test_a_full_queue_and_a_passed_deadline_are_told(
    limited: Callable[..., None], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(queue_rows=2, ready_deadline_s=0.3)
    with running(request.getfixturevalue("ws")) as (client, live):
        served = live.engine.served
        assert served is not None
        gate = threading.Event()
        forward = served.model.forward
        monkeypatch.setattr(served.model, "forward", lambda batch: (gate.wait(20), forward(batch))[1])
        answers: list[httpx.Response] = []

        def ask(**more: object) -> threading.Thread:
            thread = threading.Thread(target=lambda: answers.append(client.post("/v1/predict", json={**GOOD, **more})))
            thread.start()
            return thread

        threads = [ask()]
        wait_for(lambda: live.engine.counts().num_open == 1 and live.engine.counts().num_queued == 0, 5)
        threads.append(ask(deadline_s=0.05))
        wait_for(lambda: live.engine.counts().num_open == 2, 5)
        full = client.post("/v1/predict", json=GOOD)
        assert full.status_code == 503
        assert int(full.headers["Retry-After"]) >= 1
        told(full)
        several = client.post("/v1/predict/batch", json={"samples": [GOOD, GOOD]})
        assert several.status_code == 503
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health/live").status_code == 200
        gate.set()
        for thread in threads:
            thread.join(10)
        assert sorted(answer.status_code for answer in answers) == [200, 504]
        told(next(answer for answer in answers if answer.status_code == 504))


def test_poison_is_the_one_that_is_refused(service: tuple[httpx.Client, LiveService], monkeypatch: Any) -> None:
    client, live = service
    served = live.engine.served
    assert served is not None
    forward = served.model.forward

    def touchy(batch: Any) -> Any:
        if bool((batch.masks["text"].sum(dim=1) == 13).any()):
            raise RuntimeError("thirteen!")
        return forward(batch)

    monkeypatch.setattr(served.model, "forward", touchy)
    samples = [{"task": "digit", "inputs": {"text": "x" * length}} for length in range(1, 17)]
    said = client.post("/v1/predict/batch", json={"samples": samples}).json()["predictions"]
    assert [length for length, entry in enumerate(said, 1) if "fact" in entry] == [13]
    assert "thirteen!" in said[12]["fact"]


def test_a_client_that_hangs_up_halfway_disturbs_nobody(service: tuple[httpx.Client, LiveService]) -> None:
    client, _ = service
    address = (client.base_url.host, client.base_url.port or 80)
    for _ in range(5):
        with socket.create_connection(address) as half:
            half.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
            half.sendall(b"Content-Length: 1000\r\n\r\n{")
    assert client.post("/v1/predict", json=GOOD).status_code == 200


@pytest.mark.parametrize("charset", ["punycode", "nope", "unicode_escape", "utf-7", "utf-16"])
def test_a_part_of_a_form_is_in_utf_8_or_refused(refusing: httpx.Client, charset: str) -> None:
    text = (
        f'--x\r\nContent-Disposition: form-data; name="text"\r\nContent-Type: text/plain; charset={charset}\r\n\r\ntres'
    )
    task = '--x\r\nContent-Disposition: form-data; name="task"\r\n\r\ndigit'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    response = refusing.post("/v1/predict", content=f"{text}\r\n{task}\r\n--x--".encode(), headers=kind)
    assert response.status_code == 422
    assert "only UTF-8 is read" in told(response)["fact"]
    good = text.replace(charset, "UTF-8")
    assert refusing.post("/v1/predict", content=f"{good}\r\n{task}\r\n--x--".encode(), headers=kind).status_code == 200


@pytest.mark.parametrize("path", ["/v1/predict/batch", "/v1/ingest"])
@pytest.mark.parametrize("row", ['{"task":"digit","inputs":{"text":"a"}}', "{}", "1"])
def test_far_too_many_rows_are_refused_before_any_is_built(refusing: httpx.Client, path: str, row: str) -> None:
    body = '{"samples": [' + ",".join([row] * 300_000) + "]}"
    began = time.monotonic()
    response = refusing.post(path, content=body, headers=JSON)
    assert response.status_code == 422
    assert told(response)["fact"] == "One request may hold 64 samples."
    assert time.monotonic() - began < 1.0


def test_a_flood_of_unknown_fields_is_refused_before_they_are_read_and_commas_in_text_are_none(
    refusing: httpx.Client,
) -> None:
    flood = "{" + ",".join(f'"f{number}":1' for number in range(300_000)) + "}"
    began = time.monotonic()
    assert "more values" in told(refusing.post("/v1/predict", content=flood, headers=JSON))["fact"]
    assert time.monotonic() - began < 1.0
    spoken = {**GOOD, "inputs": {"text": 'a,\\",' * 400}}
    assert refusing.post("/v1/predict", json=spoken).status_code == 200


def test_a_refusal_is_in_whole_sentences(refusing: httpx.Client) -> None:
    assert told(refusing.post("/v1/predict", json={"task": "digit"}))["fact"] == "inputs: Field required."


def test_a_refusal_tells_the_value_that_it_is_about(refusing: httpx.Client) -> None:
    id_ = refusing.post("/v1/predict", json=GOOD).json()["prediction"]
    assert told(refusing.post("/v1/predict", json={**GOOD, "task": "colour"}))["value"] == "colour"
    assert told(refusing.post("/v1/feedback", json={"prediction": id_, "answer": "77"}))["value"] == "77"
    assert told(refusing.post("/v1/feedback", json={"prediction": "nope", "answer": "7"}))["value"] == "nope"
    assert told(refusing.get("/v1/versions/99"))["value"] == "99"
    assert told(refusing.delete("/v1/samples/none?why=x"))["value"] == "none"
