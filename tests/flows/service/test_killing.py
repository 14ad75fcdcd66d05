"""The service as a process: killed, stopped, and what it does not load."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.repository import feedback, predictions, samples
from flows.reporter import SILENT
from flows.service.listening import listen
from flows.service.prediction_log import CHUNK_ROWS
from flows.settings import Settings
from flows.workspace import Workspace, open_workspace
from omni_model.protocol import Batch, Output
from omni_model.sample import Sample
from tests.flows import homes
from tests.flows.service.running import Process, body_of, running, wait_for


def test_killed_under_load_it_loses_and_doubles_no_acknowledged_feedback(home: Path, arriving: list[Sample]) -> None:
    process = Process(home)
    acknowledged: dict[str, str] = {}
    sent: dict[str, str] = {}
    enough = threading.Event()

    def client(number: int) -> None:
        with httpx.Client(base_url=process.client.base_url, timeout=20, trust_env=False) as own:
            turn = number
            while True:
                try:
                    said = own.post("/v1/predict", json=body_of(arriving[turn % len(arriving)])).json()
                    answer = str(turn % 10)
                    sent[said["prediction"]] = answer
                    reply = own.post("/v1/feedback", json={"prediction": said["prediction"], "answer": answer})
                except httpx.HTTPError:
                    return
                assert reply.status_code == 200, reply.text
                acknowledged[said["prediction"]] = answer
                turn += 4
                if len(acknowledged) >= 60:
                    enough.set()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert enough.wait(60)
    process.kill()
    for thread in threads:
        thread.join(20)

    again = Process(home)
    replies = Counter(
        reply.json().get("new", reply.status_code)
        for id_, answer in sent.items()
        for reply in [again.client.post("/v1/feedback", json={"prediction": id_, "answer": answer})]
    )
    assert replies[False] >= len(acknowledged)
    assert set(replies) <= {False, True, 404}  # 404: the answer itself was not logged yet, and no feedback acknowledged
    ws = open_workspace(Settings.load(), SILENT)
    with ws.database.read() as session:
        stored = {id_: feedback.get(session, id_) for id_ in acknowledged}
        ids = [row.prediction.id for row in feedback.scored(session)]
    assert {id_: row.answer for id_, row in stored.items() if row} == acknowledged
    assert len(ids) == len(set(ids))
    ws.database.close()
    again.process.terminate()
    assert again.end() in (0, -signal.SIGTERM)


def test_killed_under_load_it_loses_no_acknowledged_sample_and_tells_how_many_answers_were_not_logged(
    home: Path, arriving: list[Sample]
) -> None:
    process = Process(home)
    kept: dict[str, dict[str, Any]] = {}
    told: list[str] = []
    enough = threading.Event()

    def sends(number: int) -> None:
        with httpx.Client(base_url=process.client.base_url, timeout=20, trust_env=False) as own:
            for turn in range(number, 10_000, 4):
                asked = body_of(arriving[turn % len(arriving)])
                row = {"task": "digit", "inputs": {"text": f"arrives {turn}"}, "id": f"row-{turn}", "answer": "7"}
                try:
                    told.append(own.post("/v1/predict", json=asked).json()["prediction"])
                    reply = own.post("/v1/ingest", json={"samples": [row]}) if number else None
                except httpx.HTTPError:
                    return
                if reply is not None:
                    assert reply.status_code == 202, reply.text
                    kept[row["id"]] = row  # type: ignore[index]
                if len(kept) >= 60 and len(told) >= 150:
                    enough.set()

    threads = [threading.Thread(target=sends, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert enough.wait(60)
    process.kill()
    for thread in threads:
        thread.join(20)

    again = Process(home)
    replies = again.client.post("/v1/ingest", json={"samples": list(kept.values())[:60]}).json()
    assert (replies["num_new"], replies["num_known"]) == (0, 60)
    found = re.search(r"^omniloop_log_lost_total ([0-9.]+)$", again.client.get("/metrics").text, re.MULTILINE)
    assert found is not None
    num_lost = float(found.group(1))
    ws = open_workspace(Settings.load(), SILENT)
    with ws.database.read() as session:
        assert {row.id for row in samples.get(session, list(kept))} == set(kept)
        num_missing = sum(predictions.get(session, id_) is None for id_ in told)
    ws.database.close()
    # An answer may be counted whose client was cut off before it came, and one may be in the log that was not settled.
    assert num_missing <= num_lost <= num_missing + CHUNK_ROWS
    assert num_lost <= Settings.load().service.log_rows
    assert not num_lost or f"{num_lost:.0f} answers were not logged" in again.log.read_text()
    again.process.terminate()
    assert again.end() in (0, -signal.SIGTERM)


def test_told_to_stop_it_logs_all_that_it_answered(home: Path, arriving: list[Sample]) -> None:
    process = Process(home)
    ids: list[str] = []
    started = threading.Event()

    def client(number: int) -> None:
        with httpx.Client(base_url=process.client.base_url, timeout=20, trust_env=False) as own:
            for turn in range(1000):
                try:
                    response = own.post("/v1/predict", json=body_of(arriving[(number + turn) % len(arriving)]))
                except httpx.TransportError:
                    return  # it no longer listens, or closed an idle connection
                ids.append(response.json()["prediction"])
                if len(ids) > 20:
                    started.set()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert started.wait(30)
    process.process.terminate()
    for thread in threads:
        thread.join(20)
    assert process.end() in (0, -signal.SIGTERM), process.log.read_text()
    ws = open_workspace(Settings.load(), SILENT)
    with ws.database.read() as session:
        assert all(predictions.get(session, id_) is not None for id_ in ids)
    ws.database.close()


def test_a_request_on_its_way_is_answered_when_the_service_stops(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[httpx.Response] = []
    with running(ws) as (client, live):
        served = live.engine.served
        assert served is not None
        forward = served.model.forward

        def slowly(batch: Batch) -> Output:
            time.sleep(0.7)
            return forward(batch)

        monkeypatch.setattr(served.model, "forward", slowly)
        body = {"task": "digit", "inputs": {"text": "tres"}}
        url = f"{client.base_url}/v1/predict"
        thread = threading.Thread(target=lambda: answers.append(httpx.post(url, json=body, trust_env=False)))
        thread.start()
        wait_for(lambda: live.engine.counts().num_open == 1, 5)
    thread.join(10)
    assert [answer.status_code for answer in answers] == [200]
    with ws.database.read() as session:
        assert predictions.get(session, answers[0].json()["prediction"]) is not None


def test_it_loads_no_tracking_server_no_orchestrator_and_no_reports(home: Path) -> None:
    script = (
        "import sys\n"
        "from flows.reporter import SILENT\n"
        "from flows.service.app import create_app\n"
        "from flows.service import running, __main__\n"
        "from flows.settings import Settings\n"
        "from flows.workspace import open_workspace\n"
        "ws = open_workspace(Settings.load(), SILENT)\n"
        "service = create_app(ws).state.service\n"
        "while service.engine.served is None: pass\n"
        "service.close()\n"
        "print([name for name in ('mlflow', 'evidently', 'prefect', 'pandas', 'sklearn') if name in sys.modules])\n"
    )
    root = Path(__file__).parents[3]
    command = [sys.executable, "-W", "ignore", "-c", script]
    environ = homes.small_environment(home)
    done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_taken_port_is_told_with_the_mend(home: Path) -> None:
    with listen(Settings.load().service) as taken:
        environ = {**homes.small_environment(home), "OMNI_SERVICE__PORT": str(taken.getsockname()[1])}
        command = [sys.executable, "-W", "ignore", "-m", "flows.service"]
        root = Path(__file__).parents[3]
        done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "set OMNI_SERVICE__PORT to another port" in done.stderr
