"""A long load with everything in it: `python -m benchmarks.serve_soak [--minutes 60]`, or `make soak`.

Mixed traffic, feedback, samples that arrive, promotions and rollbacks, a cache so small that it turns over. Nothing may
fail, and memory must be flat: it is looked at once a second, the least of each twelfth of the time after the warm-up is
taken (a version being loaded is a peak, not a leak), and a line through these gives the slope.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.serve_home import Bench, candidate, environment, moved, workspace
from benchmarks.serve_load import Load, loading
from benchmarks.serve_process import Recipe, Server
from db.repository import releases
from flows.steps.models import load_version
from omni_model.model import OmniModel

WARM_UP_SHARE = 0.3
WINDOWS = 12
MAX_GROWN_MB = 15.0
"""Since the warm-up, however long it runs: what the arenas of malloc may still move. An hour has 300,000 requests."""
CLIENTS = 6
PAUSE_S = 0.02
CACHE_BYTES = 2 * 2**20


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a soak saw."""

    seconds: float
    num_requests: int
    statuses: Mapping[int, int]
    num_feedback: int
    num_arrived: int
    num_changes: int
    memory_mb: Sequence[tuple[float, float]]
    """Seconds since the start, resident MiB."""
    trouble: Sequence[str] = field(default_factory=tuple)
    """Whatever was not as it should be."""

    @property
    def grown_mb(self) -> float:
        """By that slope, since the warm-up."""
        return self.slope_mb_per_hour * (1 - WARM_UP_SHARE) * self.seconds / 3600

    @property
    def slope_mb_per_hour(self) -> float:
        """Of the least memory of each window after the warm-up."""
        return slope(self.memory_mb, self.seconds)


def slope(memory_mb: Sequence[tuple[float, float]], seconds: float) -> float:
    """MiB an hour.

    >>> round(slope([(second, 100 + second / 60) for second in range(600)], 600))
    60
    """
    start = WARM_UP_SHARE * seconds
    edges: list[float] = np.linspace(start, seconds, WINDOWS + 1).tolist()
    points: list[tuple[float, float]] = []
    for low, high in pairwise(edges):
        inside = [(mb, at) for at, mb in memory_mb if low <= at < high]
        if inside:
            points.append(min(inside))
    if len(points) < 3:
        raise ValueError(f"Memory was seen in {len(points)} windows; a slope needs 3. Let it run for longer.")
    mb, at = zip(*points, strict=True)
    return float(np.polyfit(at, mb, 1)[0]) * 3600


def soak(server: Server, home: Path, bodies: Path, folder: Path, *, seconds: float, change_every_s: float) -> Report:
    """Load a running service of a home for so long."""
    began = time.monotonic()
    memory: list[tuple[float, float]] = []
    trouble: list[str] = []
    counts: Counter[str] = Counter()
    stop = threading.Event()
    load = Load(
        port=server.port, path="/v1/predict", bodies=str(bodies), clients=CLIENTS, pause_s=PAUSE_S, pick=r'"(fact)"'
    )
    jobs: dict[str, Iterator[str]] = {
        "feedback": give_feedback(server, bodies, stop),
        "arrivals": bring_samples(server, stop),
        "changes": change_versions(home, folder, stop, change_every_s),
    }
    with loading(load) as running:
        threads = [threading.Thread(target=count_job, args=(name, job, counts, trouble)) for name, job in jobs.items()]
        for thread in threads:
            thread.start()
        while (now := time.monotonic() - began) < seconds:
            memory.append((now, server.rss_mb()))
            time.sleep(min(1.0, seconds / 60))
        stop.set()
        for thread in threads:
            thread.join()
        rows = running.stop()
    return Report(
        seconds=seconds,
        num_requests=len(rows),
        statuses=Counter(row.status for row in rows),
        num_feedback=counts["feedback"],
        num_arrived=counts["arrivals"],
        num_changes=counts["changes"],
        memory_mb=memory,
        trouble=trouble,
    )


def count_job(name: str, job: Iterator[str], counts: Counter[str], trouble: list[str]) -> None:
    """Run a job to its end; each step that says something is trouble."""
    try:
        for said in job:
            counts[name] += 1
            if said:
                trouble.append(f"{name}: {said}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        trouble.append(f"{name}: {type(error).__name__}: {error}")


def give_feedback(server: Server, bodies: Path, stop: threading.Event) -> Iterator[str]:
    """Ask, and say what was right."""
    lines = bodies.read_bytes().splitlines()
    turn = 0
    while not stop.wait(0.1):
        turn += 1
        status, said = server.ask(lines[-turn % len(lines)])
        if status == 200:
            told = {"prediction": json.loads(said)["prediction"], "answer": str(turn % 10)}
            status, said = server.ask(json.dumps(told).encode(), "/v1/feedback")
        yield "" if status == 200 else f"{status} {said[:200]!r}"


def bring_samples(server: Server, stop: threading.Event) -> Iterator[str]:
    """Samples to be kept, each a new one."""
    turn = 0
    while not stop.wait(0.5):
        turn += 1
        row = {"task": "digit", "inputs": {"text": f"arrival {turn}"}, "answer": str(turn % 10)}
        status, said = server.ask(json.dumps({"samples": [row]}).encode(), "/v1/ingest")
        yield "" if status in (200, 202) else f"{status} {said[:200]!r}"


def change_versions(home: Path, folder: Path, stop: threading.Event, every_s: float) -> Iterator[str]:
    """Make a version, promote it, and take it back."""
    with workspace(home) as ws:
        model = load_version(ws, 1)
        assert isinstance(model, OmniModel)
        seed = 0
        while not stop.wait(every_s / 2):
            seed += 1
            (made,) = moved(model, folder, [seed])
            version = candidate(ws, made, parent=1)
            with ws.database.write() as session:
                releases.promote(session, version, who="soak", why="a soak", now=ws.clock())
            yield ""
            stop.wait(every_s / 2)
            with ws.database.write() as session:
                releases.rollback(session, version, who="soak", why="a soak", now=ws.clock())
            yield ""


@contextmanager
def soaked(home: Path, environ: Mapping[str, str], bodies: Path, log: Path) -> Iterator[Server]:
    """The service of a home with a cache that turns over."""
    small = {"OMNI_SERVICE__CACHE_BYTES": str(CACHE_BYTES), "OMNI_SERVICE__PORT": "{port}"}
    recipe = Recipe(
        name="ours",
        command=[sys.executable, "-m", "flows.service"],
        path="/v1/predict",
        environ={**environ, **small},
    )
    with bodies.open("rb") as file:
        probe = file.readline().rstrip()
    with Server(recipe, probe, log) as server:
        yield server


def main() -> int:
    """Soak, tell, and fail if anything failed or memory was not flat."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve_soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        bench = Bench(folder)
        home, bodies = bench.home(), bench.bodies(2000)
        with soaked(home, environment(home, "digits"), bodies, folder / "soak.log") as server:
            report = soak(server, home, bodies, folder, seconds=60 * arguments.minutes, change_every_s=15.0)
    for at, mb in report.memory_mb[:: max(1, len(report.memory_mb) // 20)]:
        print(f"{at:7.0f} s  {mb:7.1f} MiB")
    print(f"{report.num_requests} requests, answers {dict(report.statuses)}; {report.num_feedback} with feedback")
    print(f"{report.num_arrived} samples arrived, {report.num_changes} changes of version")
    print(f"memory: {report.grown_mb:+.1f} MiB since the warm-up, allowed {MAX_GROWN_MB:g}")
    print(*report.trouble[:20], sep="\n")
    return int(bool(report.trouble) or set(report.statuses) != {200} or report.grown_mb > MAX_GROWN_MB)


if __name__ == "__main__":
    sys.exit(main())
