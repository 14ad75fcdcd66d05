"""What a server costs by itself: a model that computes next to nothing, one short text a request. And what it costs
while nobody asks.
"""

from __future__ import annotations

import time

from benchmarks.harness import Figure, figure, figure_of
from benchmarks.serve_home import NO_LOG, Bench
from benchmarks.serve_peers import PEERS, Unavailable
from benchmarks.serve_process import Server
from benchmarks.serve_throughput import Contender, ask, peer_contender, start

WARM_UP_ROWS = 400


def figures(bench: Bench, short: bool) -> tuple[dict[str, Figure], list[str]]:
    """CPU ms a request at 64 clients and at one, and the share of a core while idle, of every server."""
    rounds, num, idle_s = (1, 1000, 5.0) if short else (3, 4000, 20.0)
    words = bench.words(WARM_UP_ROWS + num + num // 4)
    found, notes = [Contender(name="ours", bodies=words, recipe=None, settings=dict(NO_LOG))], []
    if NO_LOG:
        found.append(Contender(name="ours_logging", bodies=words, recipe=None))
    for peer in PEERS[:1] if short else PEERS:
        try:
            found.append(peer_contender(bench, peer, words, "free"))
        except Unavailable as error:
            notes.append(f"{peer.name}: {error}")
    made: dict[str, Figure] = {}
    for contender in found:
        own = contender.name.startswith("ours")
        few = num if own else num // 4
        name = contender.name.removeprefix("ours").lstrip("_") if own else contender.name
        suffix = f"_{name}" if name else ""
        print(f"  {contender.name}", flush=True)
        many, single, idle = [], [], []
        try:
            for round_ in range(rounds if own else 1):
                with start(bench, contender, "free") as server:
                    ask(server, contender, clients=16, num=WARM_UP_ROWS, first=0)
                    many.append(cpu_ms(server, contender, clients=64, num=few, first=WARM_UP_ROWS))
                    single.append(cpu_ms(server, contender, clients=1, num=few // 4, first=WARM_UP_ROWS + num))
                    if round_ == 0:
                        time.sleep(1.0)
                        idle.append(idle_share(server, idle_s))
        except RuntimeError as error:
            notes.append(f"{contender.name}: {error}")
            continue
        made[f"noop_cpu_ms{suffix}"] = figure_of(many, "CPU ms/request")
        made[f"noop_cpu_ms_1{suffix}"] = figure_of(single, "CPU ms/request")
        made[f"idle_cpu_share{suffix}"] = figure_of(idle, "share of a core")
    made.setdefault("noop_cpu_ms", figure(None, "CPU ms/request"))
    made.setdefault("idle_cpu_share", figure(None, "share of a core"))
    return made, notes


def cpu_ms(server: Server, contender: Contender, *, clients: int, num: int, first: int) -> float:
    """CPU milliseconds of the server a request. Raises `RuntimeError` if one was refused."""
    before_s = server.cpu_s()
    rows = ask(server, contender, clients=clients, num=num, first=first)
    time.sleep(0.3)
    spent_s = server.cpu_s() - before_s
    refused = [row for row in rows if row.status != 200]
    if refused:
        raise RuntimeError(f"{len(refused)} of {num} requests were refused: {refused[0]}.")
    return 1000 * spent_s / num


def idle_share(server: Server, seconds: float) -> float:
    """Share of one core that it takes while nobody asks."""
    before_s = server.cpu_s()
    time.sleep(seconds)
    return (server.cpu_s() - before_s) / seconds
