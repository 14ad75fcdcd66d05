"""Promotions and rollbacks under 64 clients: what fails, what is answered by the wrong version, how long it takes."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from benchmarks.harness import Figure, figure
from benchmarks.serve_home import Bench, candidate, moved, workspace
from benchmarks.serve_load import VERSION, Load, Row, loading
from benchmarks.serve_process import Server
from benchmarks.serve_throughput import quantile
from db.repository import releases

CLIENTS = 64
BETWEEN_S = 0.4
"""Between a change that has reached traffic and the next."""
LONGEST_S = 20.0
"""After so long a change has not reached traffic, and is counted as missed."""


def figures(bench: Bench, short: bool) -> tuple[dict[str, Figure], list[str]]:
    """Failed requests, stale answers, seconds from decision to moved, of promotions (loaded) and rollbacks (warm)."""
    num = 2 if short else 20
    bodies = bench.bodies(2000)
    recipe = bench.ours()
    probe = bodies.read_bytes().splitlines()[0]
    home = bench.folder / "homes" / recipe.environ["OMNI_HOME"].rsplit("/", 1)[-1]
    with workspace(home) as ws:
        folders = moved(bench.model, bench.folder / "moved", range(num))
        candidates = [candidate(ws, folder, parent=1) for folder in folders]
        with Server(recipe, probe, bench.folder / "swap.log") as server:
            load = Load(port=server.port, path=recipe.path, bodies=str(bodies), clients=CLIENTS)
            with loading(load) as running:
                time.sleep(BETWEEN_S)
                decided: list[tuple[float, int]] = []
                for version in candidates:
                    for change, to in ((releases.promote, version), (releases.rollback, 1)):
                        decided.append((time.monotonic(), to))
                        with ws.database.write() as session:
                            change(session, version, who="benchmark", why="a benchmark", now=ws.clock())
                        await_version(server, probe, to)
                        time.sleep(BETWEEN_S)
                rows = running.stop()
    return summary(rows, decided), []


def await_version(server: Server, probe: bytes, version: int) -> None:
    """Ask now and then until the version answers, or too long has passed."""
    began = time.monotonic()
    while time.monotonic() - began < LONGEST_S:
        _, said = server.ask(probe)
        found = re.search(VERSION, said)
        if found and int(found.group(1)) == version:
            return
        time.sleep(0.1)


def summary(rows: Sequence[Row], decided: Sequence[tuple[float, int]]) -> dict[str, Figure]:
    """From what clients saw and when each version was decided on."""
    failed = sum(row.status != 200 for row in rows)
    answers = [(row.began, row.ended, int(row.picked)) for row in rows if row.status == 200]
    moved_s: dict[str, list[float]] = {"promote": [], "rollback": []}
    num_stale = num_missed = 0
    before = 1
    bounds = [*(at for at, _ in decided[1:]), float("inf")]
    for (at, to), end in zip(decided, bounds, strict=True):
        term = [answer for answer in answers if at <= answer[1] and answer[0] < end]
        new = [ended for _, ended, version in term if version == to]
        old = [ended for began, ended, version in term if version == before and began < end]
        if not new:
            num_missed += 1
            continue
        first = min(new)
        num_stale += sum(began > first and ended <= end and version != to for began, ended, version in term)
        moved_s["promote" if to != 1 else "rollback"].append(max([each for each in old if each <= end] or [at]) - at)
        before = to
    known = {1, *(to for _, to in decided)}
    strange = sum(version not in known for _, _, version in answers)
    made = {
        "swap_failed_requests": figure(failed, "requests", n=len(rows)),
        "swap_stale_answers": figure(num_stale + strange, "answers", n=len(answers)),
        "swap_missed": figure(num_missed, "changes", n=len(decided)),
    }
    every = sorted(each for values in moved_s.values() for each in values)
    for name, values in {"swap": every, **{f"swap_{kind}": sorted(found) for kind, found in moved_s.items()}}.items():
        for share in (50, 95):
            value = quantile(values, share / 100) if values else None
            made[f"{name}_p{share}_s"] = figure(value, "s", n=len(values))
    return made
