"""A live service in this process or in one of its own, and what tests do to it."""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import torch

from db.records import Release
from db.repository import releases, versions
from flows.service.listening import listen
from flows.service.live import LiveService
from flows.service.running import server
from flows.settings import Settings
from flows.steps.models import load_version
from flows.workspace import Workspace
from omni_model.checkpoint import save
from omni_model.data.codecs import CODECS
from omni_model.sample import Sample
from tests.flows import homes


def wait_for(condition: Callable[[], object], seconds: float) -> float:
    """Wait until the condition holds; returns how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "waited in vain"
        time.sleep(0.02)
    return time.monotonic() - began


def body_of(sample: Sample, **more: Any) -> dict[str, Any]:
    """A sample as JSON."""
    inputs: dict[str, Any] = {}
    for name, value in sample.inputs.items():
        data = CODECS[name].encode(value)
        inputs[name] = data.decode() if name == "text" else {"base64": base64.b64encode(data).decode()}
    return {"task": sample.task, "inputs": inputs, "instruction": sample.instruction, "domain": sample.domain, **more}


@contextmanager
def running(ws: Workspace) -> Iterator[tuple[httpx.Client, LiveService]]:
    """The service of a workspace behind a real socket, in threads of this process."""
    listener = listen(ws.settings.service)
    http = server(ws)
    thread = threading.Thread(target=http.run, kwargs={"sockets": [listener]}, name="uvicorn")
    thread.start()
    live: LiveService = http.config.app.state.service  # type: ignore[union-attr]
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
            wait_for(lambda: http.started and live.watch.has_looked, 20)
            yield client, live
    finally:
        http.should_exit = True
        thread.join(20)
        listener.close()


class Process:
    """`python -m flows.service` at a home."""

    def __init__(self, home: Path) -> None:
        with listen(Settings.load().service) as listener:
            self.port = listener.getsockname()[1]
        self.log = home.parent / "service.log"
        environ = {**homes.small_environment(home), "OMNI_SERVICE__PORT": str(self.port), "PYTHONSAFEPATH": "1"}
        environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[3]), environ.get("PYTHONPATH", "")])
        with self.log.open("ab") as output:
            command = [sys.executable, "-P", "-m", "flows.service"]
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

    def end(self) -> int:
        """Wait for the end; returns the exit status."""
        self.client.close()
        return self.process.wait(20)


def add_version(ws: Workspace, folder: Path, seed: int) -> Release:
    """A candidate from v1 with other interaction layers."""
    model = load_version(ws, 1)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("layers.head"):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    save(model, folder / f"candidate-{seed}")
    with ws.database.write() as session:
        return releases.create_candidate(
            session,
            round_id=None,
            parent_version=1,
            digest=ws.blobs.put_folder(folder / f"candidate-{seed}"),
            now=ws.clock(),
        )


def promote(ws: Workspace, version: int) -> int:
    """Put a version on probation; returns the new generation."""
    with ws.database.write() as session:
        releases.promote(session, version, who="tester", why="a test", now=ws.clock())
        return versions.serving(session).generation


def roll_back(ws: Workspace, version: int) -> int:
    """Take a version back; returns the new generation."""
    with ws.database.write() as session:
        releases.rollback(session, version, who="tester", why="a test", now=ws.clock())
        return versions.serving(session).generation


def told(response: httpx.Response) -> dict[str, str]:
    """The body of a refusal, which must say fact, value and mend."""
    said: dict[str, str] = json.loads(response.content)
    assert set(said) == {"fact", "value", "mend", "request_id"}, said
    assert said["fact"]
    assert said["mend"]
    return said
