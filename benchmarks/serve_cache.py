"""What keeping encoder outputs brings: latency of one client while 0, 50 or 90 % of the requests were sent before."""

from __future__ import annotations

import statistics

import numpy as np

from benchmarks.harness import Figure, figure_of
from benchmarks.serve_home import NO_LOG, Bench
from benchmarks.serve_load import Load, measure
from benchmarks.serve_process import Server

SHARES = (0, 50, 90)
WARM_UP_ROWS = 60
RECENT_ROWS = 100
"""A repetition is one of so many last requests."""


def figures(bench: Bench, short: bool) -> tuple[dict[str, Figure], list[str]]:
    """Mean and median latency by share of repetition, and the speed-up over none."""
    rounds, num = (1, 200) if short else (3, 600)
    bodies = bench.bodies(WARM_UP_ROWS + len(SHARES) * num)
    probe = bodies.read_bytes().splitlines()[0]
    means: dict[int, list[float]] = {share: [] for share in SHARES}
    medians: dict[int, list[float]] = {share: [] for share in SHARES}
    for round_ in range(rounds):
        recipe = bench.ours(settings=NO_LOG)
        with Server(recipe, probe, bench.folder / "cache.log") as server:
            for place, share in enumerate(SHARES if round_ % 2 == 0 else SHARES[::-1]):
                order = places(num, share / 100, first=WARM_UP_ROWS + place * num, seed=round_)
                load = Load(port=server.port, path=recipe.path, bodies=str(bodies), clients=1, order=order)
                rows = [1000 * row.seconds for row in measure(load) if row.status == 200]
                means[share].append(statistics.fmean(rows[WARM_UP_ROWS:]))
                medians[share].append(statistics.median(rows[WARM_UP_ROWS:]))
    made = {}
    for share in SHARES:
        made[f"cache_mean_ms_{share}"] = figure_of(means[share], "ms")
        made[f"cache_p50_ms_{share}"] = figure_of(medians[share], "ms")
    for share in SHARES[1:]:
        ratios = [none / some for none, some in zip(means[0], means[share], strict=True)]
        made[f"cache_speedup_{share}"] = figure_of(ratios, "ratio")
    return made, []


def places(num: int, share: float, *, first: int, seed: int) -> tuple[int, ...]:
    """Which body each request sends: a new one, or with the given probability one of the last hundred.

    >>> places(4, 0.0, first=7, seed=0)
    (7, 8, 9, 10)
    """
    rng = np.random.default_rng(seed)
    sent = [first]
    while len(sent) < num:
        again = rng.random() < share
        sent.append(int(rng.choice(sent[-RECENT_ROWS:])) if again else max(sent) + 1)
    return tuple(sent)
