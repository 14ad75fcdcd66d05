"""Load from a process of its own: `load(...)` starts it, and what it saw comes back as one row a request.

N clients, each with one connection that is kept open, ask in a closed loop: the next request goes out when the answer
is there. Bodies are rendered before; the generator only writes bytes and reads answers, so that it takes as little of
the machine as can be. Times are those of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, cast

import httptools
import uvloop

ANSWER_TIMEOUT_S = 60.0
VERSION = rb'"version":\s*(\d+)'


class Row(NamedTuple):
    """One request."""

    body: int
    """Place of its body in the file."""
    began: float
    ended: float
    status: int
    """Of HTTP; 0: the connection was lost before the answer came."""
    picked: str
    """What the pattern found in the answer."""

    @property
    def seconds(self) -> float:
        """How long the client waited."""
        return self.ended - self.began


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is asked."""

    port: int
    path: str
    bodies: str
    """File with one body a line."""
    clients: int
    requests: int | None = None
    """In all; None: until told to stop."""
    first: int = 0
    """Place of the first body."""
    order: tuple[int, ...] = ()
    """Places of the bodies, one a request; empty: one after the other."""
    pick: str = VERSION.decode()
    """What to find in an answer."""
    pause_s: float = 0.0
    """That a client waits after each answer."""


class Connection(asyncio.Protocol):
    """One client's connection: a request out, its answer back."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiter: asyncio.Future[int] | None = None
        self.parser: httptools.HttpResponseParser | None = None
        self.content = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio's protocol."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by name

    def data_received(self, data: bytes) -> None:
        """Part of asyncio's protocol."""
        assert self.parser is not None
        self.parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Part of asyncio's protocol."""
        self.transport = None
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(0)

    def on_body(self, body: bytes) -> None:
        """Part of httptools' protocol."""
        self.content += body

    def on_message_complete(self) -> None:
        """Part of httptools' protocol."""
        assert self.parser is not None
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(self.parser.get_status_code())
        if self.transport is not None and not self.parser.should_keep_alive():
            self.transport.close()
            self.transport = None

    async def ask(self, message: bytes) -> int:
        """The answer's status; 0 if the connection is lost first or nothing comes within a minute."""
        self.parser = httptools.HttpResponseParser(self)
        self.content.clear()
        self.waiter = asyncio.get_running_loop().create_future()
        assert self.transport is not None
        self.transport.write(message)
        try:
            return await asyncio.wait_for(self.waiter, ANSWER_TIMEOUT_S)
        except TimeoutError:
            self.transport = None
            return 0


async def run(load: Load, bodies: Sequence[bytes], stop: threading.Event) -> list[Row]:
    """All clients, until the number is reached or `stop` is set."""
    rows: list[Row] = []
    places = iter(load.order) if load.order else _counting(load.first, load.requests)
    pattern = re.compile(load.pick.encode())
    head = f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "

    async def client() -> None:
        connection = Connection()
        for place in places:
            if stop.is_set():
                return
            body = bodies[place % len(bodies)]
            message = f"{head}{len(body)}\r\n\r\n".encode() + body
            began = time.monotonic()
            try:
                if connection.transport is None:
                    _, connection = await asyncio.get_running_loop().create_connection(
                        Connection, "127.0.0.1", load.port
                    )
                    began = time.monotonic()
                status = await connection.ask(message)
            except OSError:
                rows.append(Row(place, began, time.monotonic(), -1, ""))
                await asyncio.sleep(0.02)
                continue
            found = pattern.search(connection.content)
            rows.append(Row(place, began, time.monotonic(), status, found.group(1).decode() if found else ""))
            if load.pause_s:
                await asyncio.sleep(load.pause_s)
        if connection.transport is not None:
            connection.transport.close()

    await asyncio.gather(*(client() for _ in range(load.clients)))
    return rows


def _counting(first: int, num: int | None) -> Iterator[int]:
    place = first
    while num is None or place < first + num:
        yield place
        place += 1


class Running:
    """A load that goes on in its own process."""

    def __init__(self, load: Load) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serve_load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[1],
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(load)).encode() + b"\n")
        self._process.stdin.flush()
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has read the bodies

    def stop(self) -> list[Row]:
        """Let the requests on their way be answered and end; returns all rows. Waits for a bounded load's own end."""
        done, _ = self._process.communicate()
        if self._process.returncode:
            raise RuntimeError(f"The load generator ended with {self._process.returncode}. Look at its output above.")
        return [Row(*row) for row in json.loads(done)]

    def kill(self) -> None:
        """End it without an answer."""
        self._process.kill()
        self._process.wait()


@contextmanager
def loading(load: Load) -> Iterator[Running]:
    """A load that goes on while the block runs; ask it to `stop` in the block."""
    running = Running(load)
    try:
        yield running
    finally:
        running.kill()


def measure(load: Load) -> list[Row]:
    """A load with a number of requests, to its end."""
    if load.requests is None and not load.order:
        raise ValueError("A load that is measured to its end needs a number of requests. Give requests or order.")
    with loading(load) as running:
        return running.stop()


def main() -> None:
    """Read a load from standard input, run it until its end or the end of the input, and write the rows."""
    load = Load(**json.loads(sys.stdin.readline()))
    bodies = Path(load.bodies).read_bytes().splitlines()
    stop = threading.Event()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    bounded = load.requests is not None or load.order

    def watch() -> None:
        sys.stdin.read()
        if not bounded:
            stop.set()

    threading.Thread(target=watch, daemon=True).start()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rows = runner.run(run(load, bodies, stop))
    sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    main()
