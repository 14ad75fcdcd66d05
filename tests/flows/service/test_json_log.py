"""The log: JSON lines that name requests and keys, and never a payload."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.keys import new_key
from db.repository import keys
from flows.reporter import SILENT
from flows.service.json_log import log_as_json
from flows.service.live import LiveService
from flows.settings import Settings
from flows.workspace import open_workspace
from tests.flows import homes
from tests.flows.service.running import Process, wait_for

TEXT, ANSWER, WHO = "tres tristes tigres", "3", "person-who-says-so"
BODY = {"task": "digit", "inputs": {"text": TEXT}, "item": "item-of-theirs"}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The log of this process at its finest."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    log_as_json("DEBUG", stream)
    yield stream
    root.handlers[:], root.level = before


def lines(text: str) -> list[dict[str, Any]]:
    """Every line, each of which must be JSON."""
    found = [json.loads(line) for line in text.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in found)
    return found


def test_a_service_as_a_process_logs_requests_and_no_payload(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(homes.SMALL, "OMNI_LOG_LEVEL", "DEBUG")
    ws = open_workspace(Settings.load(), SILENT)
    key, kept = new_key("their-app", ("predict", "feedback"))
    with ws.database.write() as session:
        keys.add_key(session, kept, who="ann", now=ws.clock())
    ws.database.close()
    process = Process(home)
    headers = {"Authorization": f"Bearer {key}", "X-Request-ID": "mine-1"}
    said = process.client.post("/v1/predict", json=BODY, headers=headers).json()
    given = {"prediction": said["prediction"], "answer": ANSWER, "who": WHO}
    assert process.client.post("/v1/feedback", json=given, headers=headers).json()["new"]
    bad = {"task": "digit", "inputs": {"image": {"base64": "c2VjcmV0IHBheWxvYWQ="}}}
    assert process.client.post("/v1/predict", json=bad, headers=headers).status_code == 422
    assert process.client.post("/v1/predict", json=BODY, headers={"Authorization": "Bearer wrong"}).status_code == 401
    process.process.terminate()
    process.end()
    text = process.log.read_text()
    told = [line for line in lines(text) if line.get("request_id") == "mine-1"]
    assert [(line["route"], line["status"], line["key"]) for line in told] == [
        ("/v1/predict", 200, "their-app"),
        ("/v1/feedback", 200, "their-app"),
        ("/v1/predict", 422, "their-app"),
    ]
    assert all(0 < line["seconds"] < 30 for line in told)
    for secret in (
        TEXT,
        "tigres",
        WHO,
        "item-of-theirs",
        key,
        key.split("_")[2],
        "c2VjcmV0",
        "secret payload",
        "wrong",
    ):
        assert secret not in text, secret
    assert '"answer"' not in text


def test_a_failure_that_nobody_foresaw_tells_its_place_and_not_its_words(
    service: tuple[httpx.Client, LiveService], log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, live = service

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"cannot answer {TEXT}")

    monkeypatch.setattr(live.engine, "submit", fail)
    response = client.post("/v1/predict", json=BODY)
    assert response.status_code == 500
    assert TEXT not in response.text
    wait_for(lambda: "RuntimeError" in log.getvalue(), 5)
    assert TEXT not in log.getvalue()
    failed = [line for line in lines(log.getvalue()) if "error" in line]
    assert failed[0]["error"][0]["type"] == "RuntimeError"
    assert any("in fail" in place or place.endswith(" fail") for place in failed[0]["error"][0]["at"])
    assert response.headers["X-Request-ID"] in failed[0]["message"]
