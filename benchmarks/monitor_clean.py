"""A long clean run: nothing is wrong, so nothing may be told."""

from __future__ import annotations

import time
from collections import Counter

from benchmarks.harness import Figure, figure
from benchmarks.monitor_faults import NUM_QUESTIONS, Watcher, holds_within, named, warm_up
from benchmarks.monitor_home import Watched, live
from benchmarks.monitor_service import Live, usual_core
from benchmarks.monitor_traffic import Clients, Question, Stream
from db.repository import measurements, rule_states

SEEDS, SEEDS_SHORT = (1, 2, 3), (1,)
REQUESTS, REQUESTS_SHORT = 2500, 300
PAUSE_S = 0.05
MOST_S = 200.0


def figures(watched: Watched, short: bool) -> tuple[dict[str, Figure], list[str]]:
    """Alerts in clean traffic with feedback, several homes and seeds."""
    seeds = SEEDS_SHORT if short else SEEDS
    found: Counter[str] = Counter()
    answers, turns, looks = 0, 0, 0
    for seed in seeds:
        raised, num, num_turns, num_rules = clean_run(watched, seed, REQUESTS_SHORT if short else REQUESTS)
        print(f"  seed {seed}: {num} answers, {num_turns} turns, raised {raised or 'nothing'}", flush=True)
        found.update(raised)
        answers, turns, looks = answers + num, turns + num_turns, looks + num_turns * num_rules
    listed = ", ".join(f"{name} × {num}" for name, num in sorted(found.items())) or "none"
    note = (
        f"Clean run: {answers:,} answers over {len(seeds)} homes and seeds, {turns:,} turns of the rules (as many "
        f"minutes at the default pace), {looks:,} looks at a rule on a slice. False alerts: {listed}. A latency alert "
        "is counted as false too, although other work on the machine may have slowed the service."
    )
    made = {
        "false_alerts_clean_run": figure(found.total(), "alerts", n=answers, seeds=seeds),
        "false_alerts_not_of_latency": figure(
            sum(num for name, num in found.items() if not name.startswith("latency")), "alerts", n=answers, seeds=seeds
        ),
        "clean_turns": figure(turns, "turns"),
    }
    return made, [note]


def clean_run(watched: Watched, seed: int, requests: int) -> tuple[list[str], int, int, int]:
    """What was raised, the answers, the turns of the rules, and the rules with their slices."""
    stream = Stream(questions=[Question.of(row) for row in live(NUM_QUESTIONS, seed=seed * 17)], pause_s=PAUSE_S)
    with Live(watched, f"clean-{seed}", core=usual_core()) as live_:
        watcher = Watcher(live_, list)
        with Clients(live_.port, stream, seed=seed) as clients:
            warm_up(watcher)
            began = time.time()
            holds_within(lambda: clients.since(began) >= requests, MOST_S)
            num = clients.since(began)
        raised = [named(alert) for alert in watcher.alerts(began)]
        with watcher.ws.database.read() as session:
            turns = len(measurements.series(session, "service_up"))
            rules = len(rule_states.all_states(session))
        watcher.close()
    return raised, num, turns, rules
