"""The load generator and the server under measurement: what is counted is what happened."""

import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.serve_load import Load, Row, loading, measure
from benchmarks.serve_process import Recipe, Server

ECHO = """
import os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if b"die" in body:
            os._exit(3)
        if b"burn" in body:
            until = time.process_time() + 0.3
            while time.process_time() < until: pass
        said = b'{"version": 7, "body": ' + body + b"}"
        self.send_response(422 if b"bad" in body else 200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    def log_message(self, *args): pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
"""


def echo(tmp_path: Path) -> Server:
    """A server that answers what it was sent; 422 for `bad`, no more at all after `die`."""
    recipe = Recipe(name="echo", command=[sys.executable, "-c", ECHO, "{port}"], path="/")
    return Server(recipe, b'"probe"', tmp_path / "echo.log")


def load_of(server: Server, tmp_path: Path, lines: list[str], **more: object) -> Load:
    """A load of these bodies."""
    path = tmp_path / "bodies.jsonl"
    path.write_text("".join(line + "\n" for line in lines))
    given = {"clients": 3, **more}
    return Load(port=server.port, path="/", bodies=str(path), **given)  # type: ignore[arg-type]


def test_every_request_is_one_row_with_its_body_status_and_what_was_picked(tmp_path: Path) -> None:
    with echo(tmp_path) as server:
        rows = measure(load_of(server, tmp_path, ['"one"', '"bad"', '"three"'], requests=30))
    assert Counter(row.body for row in rows) == Counter(range(30))
    assert all(row.status == (422 if row.body % 3 == 1 else 200) for row in rows)
    assert {row.picked for row in rows} == {"7"}
    assert all(0 < row.seconds < 5 for row in rows)


def test_bodies_go_out_in_the_order_that_is_given(tmp_path: Path) -> None:
    with echo(tmp_path) as server:
        load = load_of(server, tmp_path, ['"a"', '"b"'], clients=1, order=(1, 1, 0), pick=r'"body": "(\w)"')
        rows = measure(load)
    assert [row.picked for row in rows] == ["b", "b", "a"]


def test_a_load_goes_on_until_it_is_stopped(tmp_path: Path) -> None:
    with echo(tmp_path) as server, loading(load_of(server, tmp_path, ['"a"'], pause_s=0.01)) as running:
        time.sleep(0.5)
        rows = running.stop()
    assert len(rows) > 10
    assert {row.status for row in rows} == {200}


def test_a_lost_connection_is_a_row_without_a_status(tmp_path: Path) -> None:
    with echo(tmp_path) as server:
        rows = measure(load_of(server, tmp_path, ['"a"', '"die"'], clients=1, requests=4))
    answered, lost, *refused = [row.status for row in rows]
    assert (answered, lost) == (200, 0)
    assert all(status <= 0 for status in refused)  # a dying server may still take a connection


def test_the_cpu_time_of_a_server_is_that_of_its_process(tmp_path: Path) -> None:
    with echo(tmp_path) as server:
        before = server.cpu_s()
        assert server.ask(b'"burn"')[0] == 200
        assert 0.25 < server.cpu_s() - before < 1.0
        assert 5 < server.rss_mb() < 200
        assert server.cold_start_s > 0


def test_a_server_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    recipe = Recipe(name="broken", command=[sys.executable, "-c", "raise SystemExit('no model')"], path="/")
    with pytest.raises(RuntimeError, match="broken ended with 1: no model"):
        Server(recipe, b"", tmp_path / "broken.log")


def test_an_endless_load_cannot_be_measured_to_its_end() -> None:
    with pytest.raises(ValueError, match="needs a number of requests"):
        measure(Load(port=1, path="/", bodies="", clients=1))


def test_the_time_of_a_row_is_from_sending_to_answer() -> None:
    assert Row(0, 1.0, 1.5, 200, "").seconds == 0.5
