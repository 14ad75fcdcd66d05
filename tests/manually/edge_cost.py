"""What an edge costs beside the full service: cold start, memory, answers a second, size and accuracy of its model.

    python -m tests.manually.edge_cost [--epochs 20] [--modalities text,image] [--layers 1 --full-layers 3]

Trains a model of the default size on one domain of tri-digits in a temporary home, exports it, and starts both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from flows.edge.exporting import export
from flows.reporter import SILENT
from flows.settings import Settings
from flows.steps.ingesting import add_task, ingest
from flows.steps.rounds import run_round
from flows.workspace import open_workspace
from omni_model.data import tri_digits
from omni_model.data.writing import write_manifest
from tests.flows.edge.light import environment
from tests.flows.edge.running import free_port
from tests.flows.service.running import body_of

NUM_ASKED = 60


def main() -> None:
    """Measure and print JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--epochs", type=int, default=20)
    options.add_argument("--modalities", default="text,image")
    options.add_argument("--layers", type=int, default=0)
    options.add_argument("--full-layers", type=int, default=1)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        more = {
            "OMNI_HOME": str(folder / "home"),
            "OMNI_TRAIN__EPOCHS": str(given.epochs),
            "OMNI_MODEL__LAYERS": str(given.full_layers),
        }
        os.environ.update(more)
        rows = tri_digits.load(["en"])
        ws = open_workspace(Settings.load(), SILENT)
        add_task(ws, tri_digits.TASK)
        ingest(ws, write_manifest(rows, folder / "rows"))
        run_round(ws, "manual")
        modalities = tuple(each for each in given.modalities.split(",") if each)
        bundle = export(ws, folder / "bundle", modalities=modalities, layers=given.layers)
        ws.database.close()
        bodies = [body_of(row) for row in rows[:NUM_ASKED]]
        port = free_port()
        serve = [sys.executable, "-c", "from flows.cli import main; main()"]
        full = started([*serve, "serve"], {**os.environ, "OMNI_SERVICE__PORT": str(port)}, port, bodies)
        port = free_port()
        light = [*serve, "edge", "serve", str(folder / "bundle"), "--port", str(port), "--confidence", "0"]
        edge = started(light, {**environment(folder / "light"), "OMP_NUM_THREADS": ""}, port, bodies)
        figures = {"edge": edge, "service": full, "model": bundle.measured}
        Console(soft_wrap=True).print_json(json.dumps(figures))


def started(
    command: list[str], environ: Mapping[str, str], port: int, bodies: list[dict[str, Any]]
) -> dict[str, float]:
    """Start, ask, stop: seconds to ready, memory in MB when ready and after the requests, ms of a request."""
    environ = {name: value for name, value in environ.items() if value}
    began = time.monotonic()
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            while not is_ready(client):
                if process.poll() is not None or time.monotonic() - began > 120:
                    raise RuntimeError(f"{command} did not get ready.")
                time.sleep(0.02)
            ready_s, ready_mb = time.monotonic() - began, resident_mb(process.pid)
            times = []
            for body in bodies:
                asked = time.perf_counter()
                client.post("/v1/predict", json=body).raise_for_status()
                times.append(1e3 * (time.perf_counter() - asked))
        return {
            "cold_start_s": round(ready_s, 2),
            "ready_mb": ready_mb,
            "after_mb": resident_mb(process.pid),
            "request_ms": round(statistics.median(times), 2),
        }
    finally:
        process.terminate()
        process.wait(20)


def is_ready(client: httpx.Client) -> bool:
    """Whether a canary is answered."""
    try:
        return client.get("/health/ready").status_code == 200
    except httpx.HTTPError:
        return False


def resident_mb(pid: int) -> float:
    """Resident memory of a process, in MB."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    (line,) = (line for line in text.splitlines() if line.startswith("VmRSS:"))
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    main()
