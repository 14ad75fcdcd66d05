"""URIs in requests: only below allowed prefixes, never out of them, bounded in bytes and time."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.service.faults import Fault
from flows.service.forms import Remote
from flows.service.uris import Fetcher
from flows.workspace import Workspace
from omni_model.data.codecs import CODECS
from omni_model.sample import Sample
from tests.flows.service.running import body_of, running, told


class Host(BaseHTTPRequestHandler):
    """A host with a good file, a large one, a slow one, and ways to elsewhere."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        type(self).asked.append((self.path, self.headers["Host"]))
        if self.path == "/a/away":
            self.send_response(302)
            self.send_header("Location", "/secret")
            self.end_headers()
        elif self.path == "/a/drip":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)
        elif self.path == "/a/large":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(bytes(5000))
        else:
            self.send_response(200 if self.path.startswith("/a/good") else 404)
            self.end_headers()
            self.wfile.write(b"good")

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def host() -> Iterator[int]:
    """A host's port."""
    Host.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Host) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def fetch(prefix: str, uri: str, *, max_bytes: int = 1000, timeout_s: float = 3, addresses: str = "") -> bytes:
    """What a fetcher makes of one URI."""
    resolve = {"resolve": lambda host, port: addresses.split()} if addresses else {}
    fetcher = Fetcher([prefix] if prefix else [], max_bytes=max_bytes, timeout_s=timeout_s, **resolve)
    try:
        found = asyncio.run(fetcher.fetch({"image": Remote(uri=uri)}))["image"]
    finally:
        fetcher.close()
    assert isinstance(found, bytes)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An allowed folder, and a secret beside it."""
    (tmp_path / "secret").write_bytes(b"secret")
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "a b.png").write_bytes(b"good")
    (allowed / "large").write_bytes(bytes(1001))
    (allowed / "link").symlink_to(tmp_path / "secret")
    (allowed / "inner").symlink_to(allowed / "a b.png")
    (allowed / "up").symlink_to(tmp_path)
    return allowed


def test_a_file_below_the_prefix_is_read(folder: Path) -> None:
    assert fetch(f"file://{folder}/", f"file://{folder}/a%20b.png") == b"good"
    assert fetch(f"file://{folder}/", f"file://{folder}/inner") == b"good"


@pytest.mark.parametrize(
    "rest",
    [
        "../secret",
        "%2e%2e/secret",
        "%252e%252e/secret",
        "..%2fsecret",
        "x/..\\secret",
        "link",
        "up/secret",
        "",
        "none",
        "large",
        "a b.png",
        "a%00b",
        "inner#x",
        "inner?x",
        "*",
        "zip://inner::file",
    ],
)
def test_no_file_outside_the_prefix_is_read_nor_one_too_large(folder: Path, rest: str) -> None:
    with pytest.raises(Fault) as refused:
        fetch(f"file://{folder}/", f"file://{folder}/{rest}")
    assert refused.value.status == 422
    assert refused.value.mend
    assert "secret" not in refused.value.fact


@pytest.mark.parametrize(
    "uri", ["file:///etc/hostname", "/etc/hostname", "http://localhost/", "FILE:///srv/a", "s3://b/c"]
)
def test_without_a_prefix_nothing_is_read(uri: str) -> None:
    for prefix in ("", "file:///srv/"):
        with pytest.raises(Fault, match="OMNI_SERVICE__URI_PREFIXES") as refused:
            fetch(prefix, uri)
        assert refused.value.status == 422


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    import os

    os.mkfifo(folder / "pipe")
    began = time.monotonic()
    with pytest.raises(Fault, match="no regular file"):
        fetch(f"file://{folder}/", f"file://{folder}/pipe")
    assert time.monotonic() - began < 2


def test_an_object_store_is_read_below_its_prefix() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe({"/uris/a/good": b"good", "/uris/secret": b"secret"})
    assert fetch("memory://uris/a/", "memory://uris/a/good") == b"good"
    for uri in ("memory://uris/secret", "memory://uris/a/../secret", "memory://uris/a/none"):
        with pytest.raises(Fault):
            fetch("memory://uris/a/", uri)


def test_a_host_is_asked_once_at_the_address_that_was_looked_up(host: int) -> None:
    prefix = f"http://127.0.0.1:{host}/a/"
    assert fetch(prefix, f"{prefix}good?x=1") == b"good"
    assert Host.asked == [("/a/good?x=1", f"127.0.0.1:{host}")]


@pytest.mark.parametrize(
    ("path", "said"), [("away", "answers 302"), ("none", "answers 404"), ("large", "more than the 1,000 bytes")]
)
def test_redirects_are_not_followed_and_sizes_are_bounded(host: int, path: str, said: str) -> None:
    prefix = f"http://127.0.0.1:{host}/a/"
    with pytest.raises(Fault, match=said):
        fetch(prefix, prefix + path)
    assert "/secret" not in [path for path, _ in Host.asked]


def test_a_host_that_drips_is_given_up(host: int) -> None:
    prefix, began = f"http://127.0.0.1:{host}/a/", time.monotonic()
    with pytest.raises(Fault, match=r"within 0\.4 s"):
        fetch(prefix, f"{prefix}drip", timeout_s=0.4)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "addresses", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "8.8.8.8 192.168.0.1", "100.64.0.1"]
)
def test_a_name_that_means_an_address_of_ones_own_network_is_refused(host: int, addresses: str) -> None:
    prefix = f"http://files.example.org:{host}/a/"
    with pytest.raises(Fault, match="of a network's own"):
        fetch(prefix, f"{prefix}good", addresses=addresses)
    assert Host.asked == []


def test_a_host_that_does_not_answer_is_told_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(Fault) as refused:
        fetch(f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/x")
    assert refused.value.status == 503
    assert refused.value.headers["Retry-After"]


def test_a_prediction_by_uri_is_that_of_its_content(
    ws: Workspace, folder: Path, arriving: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.settings import Settings

    sample = next(sample for sample in arriving if "image" in sample.inputs)
    (folder / "seven.png").write_bytes(CODECS["image"].encode(sample.inputs["image"]))
    whole = body_of(sample)
    remote = {**whole, "inputs": {**whole["inputs"], "image": {"uri": f"file://{folder}/seven.png"}}}
    outside = {**whole, "inputs": {"image": {"uri": f"file://{folder}/link"}}}
    monkeypatch.setenv("OMNI_SERVICE__URI_PREFIXES", f'["file://{folder}/"]')
    with running(ws.with_(settings=Settings.load())) as (client, _):
        expected = client.post("/v1/predict", json=whole).json()["probabilities"]
        assert client.post("/v1/predict", json=remote).json()["probabilities"] == expected
        refused = client.post("/v1/predict", json=outside)
        assert refused.status_code == 422
        assert "inputs.image.uri" in told(refused)["fact"]
        both = client.post("/v1/predict/batch", json={"samples": [remote, outside]}).json()["predictions"]
        assert both[0]["probabilities"] == expected
        assert "inputs.image.uri" in both[1]["fact"]
