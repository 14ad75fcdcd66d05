"""A long clean run: nothing is wrong, so nothing may be told."""

from __future__ import annotations

import time
from collections import Counter

from benchmarks.harness import Figure, figure
from benchmarks.monitor_damage import NUM_QUESTIONS
from benchmarks.monitor_home import Watched, live
from benchmarks.monitor_service import Live, usual_core
from benchmarks.monitor_traffic import Clients, Question, Stream
from benchmarks.monitor_watcher import Watcher, holds_within, named, warm_up
from db.repository import measurements, rule_states

SEEDS, SEEDS_SHORT = (1, 2, 3), (1,)
REQUESTS, REQUESTS_SHORT = 2000, 300
PAUSE_S = 0.05
MOST_S = 120.0


def figures(watched: Watched, short: bool) -> tuple[dict[str, Figure], list[str]]:
    """Alerts in clean traffic with feedback, one seed after the other."""
    seeds, requests = (SEEDS_SHORT, REQUESTS_SHORT) if short else (SEEDS, REQUESTS)
    answers = []
    with Live(watched, "clean", core=usual_core()) as live_:
        watcher = Watcher(live_, list)
        with Clients(live_.port, stream_of(seeds[0]), num=3) as clients:
            warm_up(watcher)
            start, before = time.time(), num_turns(watcher)
            for seed in seeds:
                clients.stream, began = stream_of(seed), time.time()
                holds_within(lambda began=began: clients.since(began) >= requests, MOST_S)  # type: ignore[misc]
                answers.append(clients.since(began))
                print(f"  seed {seed}: {answers[-1]} answers", flush=True)
        found = Counter(named(alert) for alert in watcher.alerts(start))
        turns = num_turns(watcher) - before
        with watcher.ws.database.read() as session:
            rules = len(rule_states.all_states(session))
        watcher.close()
    listed = ", ".join(f"{name} × {num}" for name, num in sorted(found.items())) or "none"
    note = (
        f"Clean run: {sum(answers):,} answers over {len(seeds)} seeds, {turns:,} turns of the rules (as many minutes "
        f"at the default pace), {rules} rules on their slices at each. False alerts: {listed}. An alert of latency "
        "counts as false too, although other work on the machine may have slowed the service."
    )
    made = {
        "false_alerts_clean_run": figure(found.total(), "alerts", n=sum(answers), seeds=seeds),
        "false_alerts_not_of_latency": figure(
            sum(num for name, num in found.items() if not name.startswith("latency")), "alerts", n=sum(answers)
        ),
        "clean_turns": figure(turns, "turns"),
    }
    return made, [note]


def stream_of(seed: int) -> Stream:
    """Clean questions of a seed."""
    return Stream(questions=[Question.of(row) for row in live(NUM_QUESTIONS, seed=seed * 17)], pause_s=PAUSE_S)


def num_turns(watcher: Watcher) -> int:
    """Turns of the rules so far."""
    with watcher.ws.database.read() as session:
        return len(measurements.series(session, "service_up"))
