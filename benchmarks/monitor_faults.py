"""Faults on the live service: each is put in while real clients ask, and mended again; which alerts does it raise?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.harness import Figure, figure
from benchmarks.monitor_damage import FAULTS, NUM_QUESTIONS, Fault
from benchmarks.monitor_home import Watched, live
from benchmarks.monitor_service import Live, usual_core
from benchmarks.monitor_traffic import Clients, Question, Stream
from benchmarks.monitor_watcher import HOLD_S, Watcher, holds_within, named, receiving, warm_up
from db.records import Alert
from tests.flows.receivers import Hook

SHORT = ("camera inverted", "service killed")
DETECT_S, RESOLVE_S = 60.0, 150.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a fault."""

    fault: str
    must: str
    is_detected: bool
    samples: int | None
    """Answers from the fault to the alert."""
    seconds: float | None
    is_resolved: bool
    """The alert ended after the fault, and the receiver was told so."""
    resolve_s: float | None
    followed: tuple[str, ...]
    """Alerts that are right too."""
    wrong: tuple[str, ...]


def try_fault(fault: Fault, watcher: Watcher, clients: Clients, clean: Stream, seed: int) -> Outcome:
    """Put it in, wait for its alert, mend it, and wait until everything has ended."""
    faulty = [Question.of(fault.change(sample)) for sample in live(NUM_QUESTIONS, seed)]
    began = time.time()

    def found() -> list[Alert]:
        return [alert for alert in watcher.alerts(began) if fault.wants(alert)]

    with fault.on(watcher.live):
        clients.stream = Stream(questions=faulty, flips=fault.flips, pause_s=clean.pause_s)
        is_detected = holds_within(lambda: bool(found()), DETECT_S)
        if is_detected:
            time.sleep(HOLD_S)
        clients.stream, mended = clean, time.time()
    has_ended = watcher.is_quiet_within(RESOLVE_S)
    alert = found()[-1] if is_detected else None
    told = alert is not None and has_ended and holds_within(lambda: watcher.was_told(alert, "resolved"), 20)
    fired_s = None if alert is None else (alert.fired_at or alert.started_at).timestamp() - began
    samples = None if fired_s is None else clients.since(began) - clients.since(began + fired_s)
    raised = watcher.alerts(began)
    ended = max((each.resolved_at.timestamp() for each in raised if each.resolved_at), default=mended)
    return Outcome(
        fault=fault.name,
        must=fault.must,
        is_detected=is_detected,
        samples=samples,
        seconds=fired_s,
        is_resolved=told,
        resolve_s=ended - mended if has_ended else None,
        followed=tuple(sorted({named(each) for each in raised if fault.allows(each) and not fault.wants(each)})),
        wrong=tuple(sorted(named(each) for each in raised if not fault.allows(each))),
    )


def figures(watched: Watched, short: bool) -> tuple[dict[str, Figure], list[str]]:
    """Every fault on one service, one after the other, with clean traffic between them."""
    chosen = [fault for fault in FAULTS if not short or fault.name in SHORT]
    clean = Stream(questions=[Question.of(sample) for sample in live(NUM_QUESTIONS, seed=1)])
    hook = Hook()
    hook.start()
    outcomes = []
    try:
        with Live(watched, "faults", receiving(hook), core=usual_core()) as live_:
            watcher = Watcher(
                live_, lambda: [entry for post in list(hook.posts) for entry in post.json["data"].get("alerts", ())]
            )
            with Clients(live_.port, clean) as clients:
                warm_up(watcher)
                for place, fault in enumerate(chosen):
                    outcomes.append(try_fault(fault, watcher, clients, clean, seed=100 + place))
                    print(f"  {outcomes[-1]}", flush=True)
            watcher.close()
    finally:
        hook.stop()
    return figures_of(outcomes), [table(outcomes)]


def figures_of(outcomes: Sequence[Outcome]) -> dict[str, Figure]:
    """The figures of what came of the faults."""
    found = [each for each in outcomes if each.is_detected]
    made = {
        "faults_injected": figure(len(outcomes), "faults"),
        "faults_detected": figure(len(found), "faults"),
        "wrong_alerts": figure(sum(len(each.wrong) for each in outcomes), "alerts"),
        "faults_resolved": figure(sum(each.is_resolved for each in found), "faults"),
        "median_samples_to_detect": figure(
            median([each.samples for each in found if each.samples is not None]) if found else None,
            "samples",
            n=len(found),
        ),
    }
    for each in found:
        name = each.fault.lower().replace(" ", "_")
        made[f"samples_{name}"] = figure(each.samples, "samples")
        made[f"seconds_{name}"] = figure(each.seconds, "s")
    return made


def table(outcomes: Sequence[Outcome]) -> str:
    """What each fault raised, as a sentence each."""
    told = []
    for each in outcomes:
        said = (
            f"raised `{each.must}` after {each.samples} answers" if each.is_detected else f"did not raise `{each.must}`"
        )
        ended = f", ended {each.resolve_s:.0f} s after the mend" if each.resolve_s is not None else ", did not end"
        more = f"; with it: {', '.join(each.followed)}" if each.followed else ""
        wrong = f"; WRONG: {', '.join(each.wrong)}" if each.wrong else ""
        told.append(f"{each.fault} {said}{ended if each.is_detected else ''}{more}{wrong}")
    return "Faults: " + ". ".join(told) + "."
