"""An edge in this process or in one of its own, and what tests ask of it."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from flows.edge.config import EdgeConfig
from flows.edge.running import listen, server
from flows.edge.service import EdgeService
from tests.flows.edge.light import environment
from tests.flows.service.running import wait_for

QUICK: dict[str, Any] = {
    "port": 0,
    "drain_s": 1,
    "sync_every_s": 0.1,
    "pause_s": 0.2,
    "longest_pause_s": 0.4,
    "cloud_timeout_s": 5.0,
}
NOBODY = "http://127.0.0.1:9"
"""An address at which nobody listens."""


@contextmanager
def running_edge(bundle: Path, spool: Path, **config: Any) -> Iterator[tuple[httpx.Client, EdgeService]]:
    """An edge behind a real socket, in threads of this process."""
    settings = EdgeConfig(**{**QUICK, **config})
    with listen(settings) as listener:
        http = server(bundle, settings, spool)
        thread = threading.Thread(target=http.run, kwargs={"sockets": [listener]}, name="edge")
        thread.start()
        service: EdgeService = http.config.app.state.service  # type: ignore[union-attr]
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
                wait_for(lambda: http.started, 20)
                yield client, service
        finally:
            http.should_exit = True
            thread.join(20)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class EdgeProcess:
    """`omniloop edge serve` in a light installation: what the extra `loop` brings cannot be imported."""

    def __init__(self, bundle: Path, folder: Path, *arguments: str, **more: str) -> None:
        self.port = free_port()
        self.log = folder / "edge.log"
        environ = {**environment(folder / "light"), **more}
        with self.log.open("ab") as output:
            script = "from flows.cli import main; main()"
            command = [sys.executable, "-c", script, "edge", "serve", str(bundle), "--port", str(self.port)]
            command += ["--spool", str(folder / "spool"), *arguments]
            self.process = subprocess.Popen(command, env=environ, stdout=output, stderr=output)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20, trust_env=False)
        wait_for(self.is_ready, 60)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.client.get("/health/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.end()

    def stop(self) -> None:
        """SIGTERM, which it dies of once it has drained."""
        self.process.terminate()
        assert self.end() in (0, -signal.SIGTERM), self.log.read_text()

    def end(self) -> int:
        """Wait for the end; returns the exit status."""
        self.client.close()
        return self.process.wait(20)


def waiting(client: httpx.Client) -> tuple[int, int]:
    """Answers and feedback that wait for the cloud."""
    told = client.get("/v1/bundle").json()
    return told["waiting"], told["waiting_feedback"]
