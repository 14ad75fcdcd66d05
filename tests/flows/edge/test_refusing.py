"""The edge's door: strangers' names, two keys, unfinished requests and floods."""

import socket
from pathlib import Path

from tests.flows.edge.running import running_edge
from tests.flows.service.running import told

GOOD = {"task": "digit", "inputs": {"text": "tres"}}


def test_an_open_edge_answers_to_this_machines_own_names_alone(bundle: Path, tmp_path: Path) -> None:
    with running_edge(bundle, tmp_path / "spool", confidence=0.0) as (client, _):
        for other in ({"Host": "evil.example:8766"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
            refused = client.post("/v1/predict", json=GOOD, headers=other)
            assert refused.status_code == 403
            told(refused)
        own = {"Host": "localhost:8766", "Origin": "http://127.0.0.1:3000"}
        assert client.post("/v1/predict", json=GOOD, headers=own).status_code == 200
        keys = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")]
        assert client.get("/v1/bundle", headers=keys).status_code == 400
        assert client.get("/v1/bundle/").status_code == 404
        assert client.head("/health/ready").status_code == 200
        assert client.get("/health/live", headers={"X": "y" * 70_000}).status_code == 431
        flood = '{"samples": [' + ",".join(["{}"] * 300_000) + "]}"
        refused = client.post("/v1/predict/batch", content=flood, headers={"Content-Type": "application/json"})
        assert told(refused)["fact"] == "One request may hold 64 samples."


def test_an_edge_with_a_key_answers_to_any_name_and_waits_for_nobody_without_end(bundle: Path, tmp_path: Path) -> None:
    key = "0123456789abcdef"
    with running_edge(bundle, tmp_path / "spool", api_key=key, read_timeout_s=0.5) as (client, _):
        named = {"Host": "edge.example.org", "Authorization": f"Bearer {key}"}
        assert client.get("/v1/bundle", headers=named).status_code == 200
        with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=5) as connection:
            connection.sendall(
                f"POST /v1/predict HTTP/1.1\r\nAuthorization: Bearer {key}\r\nContent-Length: 9\r\n\r\n".encode()
            )
            assert connection.recv(12) == b"HTTP/1.1 408"
