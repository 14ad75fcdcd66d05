"""What one request does to the others when it breaks the model, and what SIGTERM does to requests on their way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.harness import Figure, figure
from benchmarks.serve_home import NO_LOG, Bench
from benchmarks.serve_load import Load, Row, loading, measure
from benchmarks.serve_peers import PEERS, Unavailable
from benchmarks.serve_throughput import WARM_UP_ROWS, Contender, peer_contender, start

EACH = 16
"""One request of so many is poisoned."""


def figures(bench: Bench, short: bool) -> tuple[dict[str, Figure], list[str]]:
    """Innocents that fail, ours and the others', and requests lost at SIGTERM."""
    num = 20 * EACH if short else 100 * EACH
    bodies = poisoned(bench, bench.bodies(WARM_UP_ROWS + num))
    made: dict[str, Figure] = {}
    found: list[Callable[[], Contender]] = [partial(ours, bodies)]
    found += [partial(peer_contender, bench, peer, bodies, "poisonable") for peer in (PEERS[:1] if short else PEERS)]
    notes = []
    for make in found:
        try:
            contender = make()
            suffix = "" if contender.name == "ours" else f"_{contender.name}"
            print(f"  poison for {contender.name}", flush=True)
            made[f"poison_innocents_failed{suffix}"] = poison(bench, contender, num)
        except (Unavailable, RuntimeError) as error:
            notes.append(f"poison: {error}")
    made |= sigterm(bench, 2 if short else 6)
    return made, notes


def ours(bodies: Path) -> Contender:
    """Our service, with nothing logged."""
    return Contender(name="ours", bodies=bodies, recipe=None, settings=dict(NO_LOG))


def poisoned(bench: Bench, bodies: Path) -> Path:
    """The same bodies with a poisoned one among each sixteen; the first stays well, as the probe."""
    lines = bodies.read_text(encoding="utf-8").splitlines()
    poison_ = json.dumps(bench.poison())
    mixed = [poison_ if place % EACH == EACH - 1 else line for place, line in enumerate(lines)]
    path = bodies.with_name(f"{bodies.stem}-poisoned.jsonl")
    path.write_text("".join(line + "\n" for line in mixed), encoding="utf-8")
    return path


def poison(bench: Bench, contender: Contender, num: int) -> Figure:
    """Share of innocents without a 200. Raises `RuntimeError` if the poison is not noticed."""
    with start(bench, contender, "poisonable") as server:
        load = Load(
            port=server.port, path=server.recipe.path, bodies=str(contender.bodies), clients=EACH, requests=num, first=0
        )
        rows = measure(load)
    guilty = [row for row in rows if row.body % EACH == EACH - 1]
    innocent = [row for row in rows if row.body % EACH != EACH - 1]
    if any(row.status == 200 for row in guilty):
        raise RuntimeError(f"{contender.name} answers a request that makes the model raise.")
    return figure(sum(row.status != 200 for row in innocent) / len(innocent), "share", n=len(innocent))


def sigterm(bench: Bench, rounds: int) -> dict[str, Figure]:
    """Requests that were on their way when SIGTERM came, and those of them that got no answer."""
    bodies = bench.bodies(2000)
    lost, on_way, slowest = 0, 0, 0.0
    for _ in range(rounds):
        with start(bench, ours(bodies)) as server:
            load = Load(port=server.port, path=server.recipe.path, bodies=str(bodies), clients=64)
            with loading(load) as running:
                time.sleep(1.5)
                at = server.terminate()
                server.wait()
                slowest = max(slowest, time.monotonic() - at)
                rows = running.stop()
        caught = waiting_at(rows, at)
        on_way += len(caught)
        lost += sum(row.status <= 0 for row in caught)
    return {
        "sigterm_lost": figure(lost, "requests", n=on_way),
        "sigterm_end_s": figure(slowest, "s", n=rounds),
    }


def waiting_at(rows: Sequence[Row], at: float) -> list[Row]:
    """Those sent and not answered at a moment."""
    return [row for row in rows if row.began < at < row.ended]
