"""What monitoring costs: CPU beside the service's, added latency, a report over many answers, rows kept."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from statistics import fmean, median

import httpx
import numpy as np

from benchmarks.harness import Figure, figure, figure_of
from benchmarks.monitor_damage import NUM_QUESTIONS
from benchmarks.monitor_home import SPEED, Watched, live
from benchmarks.monitor_service import Live, usual_core
from benchmarks.monitor_traffic import Clients, Question, Stream
from benchmarks.monitor_watcher import Watcher, warm_up
from benchmarks.serve_home import workspace
from db.records import NewPrediction
from db.repository import predictions
from flows.service.own_key import own_key
from flows.steps.measuring import Fetch
from flows.steps.probing import probe
from flows.steps.reporting import report_window
from flows.steps.watching_rules import watch_rules
from flows.workspace import Workspace
from monitoring.alerting.reading import default_text, parse_rules
from monitoring.reports import DRIFT, make

LOADS_PER_S = (50, 10)
"""Answers a second that the share of CPU is told for; the first is the figure's."""
RULES_S, PROBE_S, DAY_S = 60.0, 300.0, 86400.0
BLOCK_S = 8.0
REPORT_ROWS, REPORT_ROWS_SHORT = 100_000, 5_000


def figures(watched: Watched, short: bool) -> tuple[dict[str, Figure], list[str]]:
    """Everything of one service with its pulse, and of its home afterwards."""
    stream = Stream(questions=[Question.of(row) for row in live(NUM_QUESTIONS, seed=9)], pause_s=0.02)
    with Live(watched, "cost", core=usual_core()) as live_:
        watcher = Watcher(live_, list)
        with Clients(live_.port, stream) as clients:
            warm_up(watcher)
            added, plain_s = added_latency(live_, clients, 2 if short else 8)
            stop_pulse(live_)
            request_s = cpu_of_service(live_, lambda: clients.since(0.0), 5 if short else 20)
        fetch = asking(live_)
        scrape_s = cpu_of_service(live_, counted(fetch, 100), 0)
        with workspace(live_.home, "watched") as ws:
            turn_s, rows_turn, probe_s, rows_probe = turns(ws, fetch, 3 if short else 10)
        watcher.close()
    made = shares(request_s, turn_s, scrape_s, probe_s)
    made |= {
        "added_latency_share": figure(
            median(added) / SPEED,
            "ratio",
            spread=float(np.std(added)) / SPEED if len(added) > 1 else None,
            n=len(added),
        ),
        "added_latency_share_at_60_times_the_pace": figure_of(added, "ratio"),
        "latency_mean_without_s": figure(plain_s, "s"),
        "service_cpu_ms_per_answer": figure(1000 * request_s, "ms"),
        "rules_turn_cpu_s": figure(turn_s, "s"),
        "scrape_cpu_ms": figure(1000 * scrape_s, "ms"),
        "probe_cpu_s": figure(probe_s, "s"),
        "measurements_per_day": figure(rows_turn * DAY_S / RULES_S + rows_probe * DAY_S / PROBE_S, "rows"),
        "predictions_per_day_at_10_s": figure(LOADS_PER_S[1] * DAY_S, "rows"),
    }
    return made | report_cost(watched, REPORT_ROWS_SHORT if short else REPORT_ROWS), list(NOTES)


NOTES = (
    "Cost: monitor_cpu_share is the CPU of a turn of the default rules each minute, of asking 64 samples again each "
    "five minutes, and of the service's page of metrics, over the service's own CPU at 50 answers a second, its log of "
    "answers included; at 10 a second it is told apart. The pulse's process was loaded before, torch included; its "
    "other jobs (delivery, triggers) are not in it.",
    "added_latency_share: the pulse at sixty times the usual pace is stopped and continued in turns of 8 s (SIGSTOP, "
    "SIGCONT) under the same clients; the relative rise of the mean latency is divided by sixty, as a turn comes that "
    "much less often. The undivided value stands beside it.",
    "report_*: a drift report of the product over so many logged answers, reading them included, in this process, "
    "after a first one of 100 rows that imports Evidently (report_first_cpu_s). Nothing is sampled below "
    "100,000 rows; of more the latest 100,000 are read.",
)


def added_latency(live_: Live, clients: Clients, rounds: int) -> tuple[list[float], float]:
    """Relative rise of the mean latency with the pulse against without, by round; and the mean without."""
    added, plain = [], []
    for _ in range(rounds):
        means = []
        for number in (signal.SIGSTOP, signal.SIGCONT):
            live_.pulse.send(number)
            time.sleep(0.5)
            first = len(clients.times)
            time.sleep(BLOCK_S)
            means.append(fmean(seconds for _, seconds in clients.times[first:]))
        plain.append(means[0])
        added.append(means[1] / means[0] - 1)
    return added, fmean(plain)


def stop_pulse(live_: Live) -> None:
    """End it."""
    live_.pulse.send(signal.SIGCONT)
    live_.pulse.end()


def cpu_of_service(live_: Live, num: Callable[[], int], seconds: float) -> float:
    """CPU seconds of the service for each of what is counted, over some time."""
    before, spent = num(), live_.service.cpu_s()
    time.sleep(seconds)
    done = num() - before
    return (live_.service.cpu_s() - spent) / max(done, 1)


def counted(fetch: Fetch, num: int) -> Callable[[], int]:
    """Fetches so often whenever it is asked, and says how often it has in all but the first time."""
    done = [-num]

    def ask() -> int:
        for _ in range(num if done[0] >= 0 else 0):
            fetch()
        done[0] += num
        return done[0]

    return ask


def asking(live_: Live) -> Fetch:
    """What the pulse asks the service."""
    client = httpx.Client(headers={"Authorization": f"Bearer {own_key(live_.home)}"}, trust_env=False, timeout=5)
    return lambda: client.get(f"http://127.0.0.1:{live_.port}/metrics").text


def turns(ws: Workspace, fetch: Fetch, num: int) -> tuple[float, int, float, float]:
    """CPU seconds and rows of a turn of the default rules, and of asking again."""
    rules = parse_rules(default_text())
    watch_rules(ws, rules, fetch=fetch)
    costs, rows = [], 0
    for _ in range(num):
        before, spent = num_measurements(ws), time.process_time()
        watch_rules(ws, rules, fetch=fetch)
        costs.append(time.process_time() - spent)
        rows = num_measurements(ws) - before
    asked = []
    for ahead in range(3):
        later = replace(ws, clock=lambda ahead=ahead: ws.clock() + timedelta(seconds=ahead))  # type: ignore[misc]
        touch(ws, ahead)
        spent = time.process_time()
        written = probe(later)
        asked.append((time.process_time() - spent, written))
    return median(costs), rows, median(cost for cost, _ in asked[1:]), asked[-1][1]


def touch(ws: Workspace, number: int) -> None:
    """An answer more to a stored sample, so that there is something new to ask again."""
    now = ws.clock()
    with ws.database.write() as session:
        row = predictions.newest(session, now - timedelta(hours=1), now, version=1, limit=1)[-1]
        new = NewPrediction(
            id=f"touch-{number}",
            version=1,
            task=row.task,
            answer=row.answer,
            confidence=row.confidence or 0.5,
            sample_id=row.sample_id,
            domain=row.domain,
            modalities=row.modalities,
            latency_s=row.latency_s,
        )
        predictions.log(session, [new], now=now)


def num_measurements(ws: Workspace) -> int:
    """Rows of measurements."""
    with closing(sqlite3.connect(ws.home / "omniloop.db")) as database:
        return int(database.execute("SELECT count(*) FROM measurements").fetchone()[0])


def shares(request_s: float, turn_s: float, scrape_s: float, probe_s: float) -> dict[str, Figure]:
    """CPU of monitoring over that of the service, by load.

    >>> shares(0.01, 0.06, 0.0, 0.3)["monitor_cpu_share"]["value"]
    0.004
    """
    monitor = (turn_s + scrape_s) / RULES_S + probe_s / PROBE_S
    made = {"monitor_cpu_share": figure(round(monitor / (LOADS_PER_S[0] * request_s), 12), "ratio")}
    for load in LOADS_PER_S[1:]:
        made[f"monitor_cpu_share_at_{load}_s"] = figure(round(monitor / (load * request_s), 12), "ratio")
    return made


def report_cost(watched: Watched, num: int) -> dict[str, Figure]:
    """Seconds of a drift report over so many logged answers."""
    rng = np.random.default_rng(0)
    with workspace(watched.home("report"), "watched") as ws:
        began = ws.clock()
        for start in range(0, num + 1000, 5000):
            sure = rng.beta(8, 2, 5000)
            rows = [
                NewPrediction(
                    id=f"r{start + at}",
                    version=1,
                    task="digit",
                    answer=str(at % 10),
                    confidence=float(sure[at]),
                    domain="en",
                    modalities=("audio", "image", "text") if at % 3 else ("image", "text"),
                    latency_s=float(rng.gamma(9, 0.002)),
                    detail={"entropy": float(1 - sure[at])},
                )
                for at in range(5000)
            ]
            with ws.database.write() as session:
                predictions.log(session, rows, now=began + timedelta(seconds=start / 1000))
        cut = began + timedelta(seconds=2)
        cpu = time.process_time()
        small: dict[str, list[float]] = {"confidence": [float(value) for value in sure[:100]]}
        make(DRIFT, small, small, name="first", at=began, about={})
        first_s = time.process_time() - cpu
        spent, cpu = time.perf_counter(), time.process_time()
        end = began + timedelta(seconds=(num + 5000) / 1000 + 2)
        report_window(ws, DRIFT, start=cut, end=end, version=1)
        return {
            "report_cpu_s": figure(time.process_time() - cpu, "s", n=num),
            "report_wall_s": figure(time.perf_counter() - spent, "s", n=num),
            "report_first_cpu_s": figure(first_s, "s"),
        }
