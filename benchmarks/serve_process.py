"""A server under measurement: a process with all its children, asked from outside and never trusted to be ready."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
START_S = 90.0
END_S = 15.0


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def one_thread(more: Mapping[str, str]) -> dict[str, str]:
    """The environment of every server alike: none of our settings but those given, one thread for torch."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMNI_", "BENTOML_"))}
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    return {**kept, **threads, **more}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a server is started and asked."""

    name: str
    command: Sequence[str]
    """`{port}` stands for the port."""
    path: str
    """Where predictions are asked for."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Here too `{port}` stands for the port."""
    folder: Path = ROOT
    """Working directory."""


class Server:
    """A running server. Use it as a context."""

    def __init__(self, recipe: Recipe, probe: bytes, log: Path) -> None:
        self.recipe, self.port, self.log = recipe, free_port(), log
        began = time.monotonic()
        environ = one_thread({name: self._filled(value) for name, value in recipe.environ.items()})
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._filled(part) for part in recipe.command],
                env=environ,
                cwd=recipe.folder,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            self._await_answer(probe)
        except BaseException:
            self.end()
            raise
        self.cold_start_s = time.monotonic() - began
        """From the start of the process to the first right answer."""

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def cpu_s(self) -> float:
        """CPU seconds that the whole tree has spent so far, those of children that ended included."""
        total = 0.0
        for process in self._tree():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total

    def rss_mb(self) -> float:
        """Resident memory of the whole tree, in MiB; what processes share is counted in each."""
        total = 0
        for process in self._tree():
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total / 2**20

    def ask(self, body: bytes, path: str = "", timeout_s: float = 30.0) -> tuple[int, bytes]:
        """Status and content of one answer, by default to a prediction."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request("POST", path or self.recipe.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def terminate(self) -> float:
        """SIGTERM to the first process; returns when."""
        now = time.monotonic()
        self._process.terminate()
        return now

    def wait(self) -> int:
        """Wait for the end; returns the exit status."""
        return self._process.wait(END_S)

    def end(self) -> None:
        """SIGTERM, and SIGKILL for whatever is left of the tree some seconds later."""
        tree = self._tree()
        if self._process.poll() is None:
            self._process.terminate()
        _, alive = psutil.wait_procs([each for each in tree if each.pid != self._process.pid], timeout=3)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in alive:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue

    def _tree(self) -> list[psutil.Process]:
        try:
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _filled(self, text: str) -> str:
        return text.replace("{port}", str(self.port))

    def _await_answer(self, probe: bytes) -> None:
        """Wait until the probe gets a 200."""
        began, last = time.monotonic(), "nothing listens"
        while time.monotonic() - began < START_S:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.recipe.name} ended with {self._process.returncode}: {self._last_words()}")
            try:
                status, content = self.ask(probe)
            except (OSError, http.client.HTTPException) as error:
                last = str(error)
            else:
                if status == 200:
                    return
                last = f"{status} {content[:200]!r}"
            time.sleep(0.05)
        raise RuntimeError(f"{self.recipe.name} gave no answer within {START_S:g} s ({last}): {self._last_words()}")

    def _last_words(self) -> str:
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return " | ".join(lines[-3:])[:600]
