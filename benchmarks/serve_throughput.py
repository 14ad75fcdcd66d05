"""Side by side, in alternating rounds: the bare forward pass, our service with and without its log, other servers.

In each round every server is started afresh, warmed, asked by 1, 16 and 64 clients, and stopped; every second round
goes through them the other way round. A server that cannot be started is left out, with the reason.
"""

from __future__ import annotations

import json
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness import Figure, figure, figure_of
from benchmarks.serve_home import NO_LOG, Bench
from benchmarks.serve_load import Load, Row, measure
from benchmarks.serve_peers import PEERS, Peer, Unavailable, python_of
from benchmarks.serve_process import Recipe, Server
from benchmarks.serve_work import BATCH_ROWS, Work, content_of

CLIENTS = (1, 16, 64)
WARM_UP_ROWS = 96
CHECKED_ROWS = 6
ANSWER = r'"answer\\*":\s*\\*"(\w+)'


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long it is measured."""

    rounds: int
    requests: dict[int, int]
    """By number of clients."""

    @property
    def num_bodies(self) -> int:
        """None comes twice within a round."""
        return WARM_UP_ROWS + sum(self.requests.values())


def plan_of(short: bool) -> Plan:
    """The long or the short form."""
    if short:
        return Plan(rounds=1, requests={1: 60, 16: 160, 64: 320})
    return Plan(rounds=3, requests={1: 150, 16: 400, 64: 960})


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A server in the comparison."""

    name: str
    bodies: Path
    recipe: Recipe | None
    """None: ours, on a fresh home each time."""
    settings: dict[str, str] = field(default_factory=dict)


@dataclass
class Cells:
    """What was measured, by server, clients and round."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, server: str, what: str, value: float) -> None:
        """One more round."""
        self.values[server, what].append(value)

    def get(self, server: str, what: str) -> list[float]:
        """By round; empty for what was not measured."""
        return self.values.get((server, what), [])

    def figures(self, units: dict[str, str]) -> dict[str, Figure]:
        """Mean and spread over the rounds of everything, as `WHAT_SERVER`."""
        return {
            f"{what}_{server}": figure_of(values, next(unit for key, unit in units.items() if what.startswith(key)))
            for (server, what), values in sorted(self.values.items())
        }


UNITS = {
    "per_core_s": "requests/core-second",
    "per_s": "requests/s",
    "cpu_ms": "CPU ms/request",
    "p50": "ms",
    "p99": "ms",
    "memory": "MiB",
    "cold_start": "s",
    "failed": "requests",
}


def figures(bench: Bench, short: bool) -> tuple[dict[str, Figure], list[str]]:
    """All figures, and what could not be measured."""
    plan = plan_of(short)
    bodies = bench.bodies(plan.num_bodies)
    found, notes = contenders(bench, bodies)
    work, cells = Work(bench.checkpoint()), Cells()
    right = expected(work, bodies)
    for round_ in range(plan.rounds):
        cells.add("bare", "per_core_s_64", bare(work, bodies, plan.requests[64]))
        for contender in found if round_ % 2 == 0 else found[::-1]:
            if contender.name in {note.split(":")[0] for note in notes}:
                continue
            print(f"  round {round_ + 1} of {plan.rounds}: {contender.name}", flush=True)
            try:
                one_round(bench, contender, plan, cells, right)
            except RuntimeError as error:
                notes.append(f"{contender.name}: {error}")
        cells.add("bare", "per_core_s_64", bare(work, bodies, plan.requests[64]))
    return headline(cells) | cells.figures(UNITS), notes


def contenders(bench: Bench, bodies: Path) -> tuple[list[Contender], list[str]]:
    """Every server that could be set up, and why the others could not."""
    found, notes = [Contender(name="ours", bodies=bodies, recipe=None, settings=dict(NO_LOG))], []
    if NO_LOG:
        found.append(Contender(name="ours_logging", bodies=bodies, recipe=None))
    for peer in PEERS:
        try:
            found.append(peer_contender(bench, peer, bodies))
        except Unavailable as error:
            notes.append(f"{peer.name}: {error}")
    return found, notes


def peer_contender(bench: Bench, peer: Peer, bodies: Path, kind: str = "digits") -> Contender:
    """A peer with a model of this kind. Raises :class:`Unavailable`."""
    recipe = peer.recipe(python_of(peer), bench, kind)
    return Contender(name=peer.name, bodies=bench.wrapped(bodies, peer.name, peer.wrap), recipe=recipe)


def start(bench: Bench, contender: Contender, kind: str = "digits") -> Server:
    """A contender, started and answering."""
    recipe = contender.recipe or bench.ours(kind, name=contender.name, settings=contender.settings)
    with contender.bodies.open("rb") as file:
        probe = file.readline().rstrip()
    return Server(recipe, probe, bench.folder / f"{contender.name}.log")


def one_round(bench: Bench, contender: Contender, plan: Plan, cells: Cells, right: Sequence[str]) -> None:
    """One server through one round. Raises `RuntimeError` if it does not start or answers otherwise than the model."""
    with start(bench, contender) as server:
        cells.add(contender.name, "cold_start_s", server.cold_start_s)
        check_answers(server, contender, right)
        first = 0
        ask(server, contender, clients=16, num=WARM_UP_ROWS, first=first)
        first += WARM_UP_ROWS
        for clients, num in plan.requests.items():
            before_s, began = server.cpu_s(), time.monotonic()
            rows = ask(server, contender, clients=clients, num=num, first=first)
            wall_s = time.monotonic() - began
            time.sleep(0.3)  # what is written after the answer is part of its price
            cpu_s = server.cpu_s() - before_s
            first += num
            told_ms = sorted(1000 * row.seconds for row in rows if row.status == 200)
            if not told_ms:
                raise RuntimeError(f"No request of {clients} clients was answered: {rows[0]}.")
            for what, value in (
                ("per_core_s", len(told_ms) / cpu_s),
                ("per_s", len(told_ms) / wall_s),
                ("cpu_ms", 1000 * cpu_s / len(told_ms)),
                ("p50_ms", quantile(told_ms, 0.50)),
                ("p99_ms", quantile(told_ms, 0.99)),
                ("failed", float(len(rows) - len(told_ms))),
            ):
                cells.add(contender.name, f"{what}_{clients}", value)
        cells.add(contender.name, "memory_mb", server.rss_mb())


def ask(server: Server, contender: Contender, *, clients: int, num: int, first: int) -> list[Row]:
    """So many requests of so many clients."""
    load = Load(
        port=server.port,
        path=server.recipe.path,
        bodies=str(contender.bodies),
        clients=clients,
        requests=num,
        first=first,
    )
    return measure(load)


def expected(work: Work, bodies: Path) -> list[str]:
    """What the model itself answers to the first bodies."""
    with bodies.open() as file:
        return [said["answer"] for said in work.answer_bodies([json.loads(next(file)) for _ in range(CHECKED_ROWS)])]


def check_answers(server: Server, contender: Contender, right: Sequence[str]) -> None:
    """Every server must do the work: its answers are those of the model."""
    with contender.bodies.open("rb") as file:
        said = [server.ask(next(file).rstrip()) for _ in right]
    answers = [found.group(1) if (found := re.search(ANSWER, text.decode())) else "" for _, text in said]
    if answers != list(right):
        raise RuntimeError(f"It answers {answers}, the model {list(right)}: {said[0]}.")


def bare(work: Work, bodies: Path, num: int) -> float:
    """Requests a core-second of the same work without a server: bytes to answers in batches of 32, one thread."""
    parsed = [(body, content_of(body)) for body in islice_json(bodies, num)]
    for start_ in (0, *range(0, num, BATCH_ROWS)):  # the first batch twice: once to warm up
        if start_ == 0:
            began = time.process_time()
        rows = [work.sample_of(body, content) for body, content in parsed[start_ : start_ + BATCH_ROWS]]
        list(work.answer(rows))
    return num / (time.process_time() - began)


def islice_json(path: Path, num: int) -> Iterator[dict[str, object]]:
    """The last so many lines of a file, parsed."""
    lines = path.read_text(encoding="utf-8").splitlines()[-num:]
    return (json.loads(line) for line in lines)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which a share of sorted values lies.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5)
    3.0
    """
    return values[min(len(values) - 1, int(share * len(values)))]


def headline(cells: Cells) -> dict[str, Figure]:
    """The two ratios that the comparison is about, each taken round by round."""
    made: dict[str, Figure] = {}
    pairs = list(zip(cells.get("bare", "per_core_s_64")[::2], cells.get("bare", "per_core_s_64")[1::2], strict=False))
    bare_rounds = [statistics.fmean(pair) for pair in pairs]
    for name in ("ours", "ours_logging"):
        suffix = name.removeprefix("ours")
        served, p99 = cells.get(name, "per_core_s_64"), cells.get(name, "p99_ms_64")
        ratios = [one / other for one, other in zip(served, bare_rounds, strict=False)]
        made[f"ratio_to_bare_batched_64{suffix}"] = figure_of(ratios, "ratio") if ratios else figure(None, "ratio")
        others = [values for peer in PEERS if (values := cells.get(peer.name, "p99_ms_64"))]
        best = [min(round_) for round_ in zip(*others, strict=False)]
        ratios = [one / other for one, other in zip(p99, best, strict=False)]
        made[f"p99_ratio_to_best_peer_64{suffix}"] = figure_of(ratios, "ratio") if ratios else figure(None, "ratio")
    return made
