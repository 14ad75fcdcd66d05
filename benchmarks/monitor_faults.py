"""Faults on the live service: each is put in while real clients ask, and mended again; which alerts does it raise?"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness import Figure, figure
from benchmarks.monitor_home import Watched, live
from benchmarks.monitor_models import PIECES, SLOW
from benchmarks.monitor_service import Live, usual_core, wait_until
from benchmarks.monitor_traffic import Clients, Question, Stream
from benchmarks.serve_home import workspace
from db.records import Alert
from db.repository import alerts
from flows.steps.known import baseline_in_force
from omni_model.data import tri_digits
from omni_model.sample import Sample, Value
from tests.flows.receivers import Hook

NUM_QUESTIONS = 800
FLOOD = 24
DETECT_S, RESOLVE_S = 60.0, 150.0
HOLD_S = 5.0
"""A fault lasts that much longer than its detection, so that others have time to follow."""
SHORT = ("camera inverted", "service killed")
ACCURACY = frozenset({"accuracy low", "accuracy low in a domain"})
DAMAGE = frozenset({"embeddings drift", "alignment error high", "modality balance low"})


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that breaks, the alert that must tell of it, and what truly follows from it."""

    name: str
    must: str
    """Name of the alert."""
    of: Mapping[str, str] = field(default_factory=dict)
    """Its labels, as far as they matter."""
    follows: frozenset[str] = frozenset()
    """Alerts that are right too: the model really is worse, or the service really is slower."""
    change: Callable[[Sample], Sample] = lambda sample: sample
    flips: bool = False
    on: Callable[[Live, Clients], AbstractContextManager[None]] = lambda _live, _clients: nullcontext()

    def wants(self, alert: Alert) -> bool:
        """Whether this is the alert that must come."""
        return alert.name == self.must and all(alert.labels.get(key) == value for key, value in self.of.items())

    def allows(self, alert: Alert) -> bool:
        """Whether it may come: what is told of a modality must be told of the right one."""
        modality = alert.labels.get("modality")
        if modality is not None and modality != self.of.get("modality"):
            return False
        return alert.name == self.must or alert.name in self.follows


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


def inverted(sample: Sample) -> Sample:
    """The camera's picture as a negative."""
    return changed(sample, "image", lambda value: 255 - np.asarray(value))


def silent(sample: Sample) -> Sample:
    """A microphone that sends silence."""
    return changed(sample, "audio", lambda value: np.zeros_like(np.asarray(value)))


def deaf(sample: Sample) -> Sample:
    """A microphone that sends nothing; what has nothing else is sent as it is."""
    inputs = {name: value for name, value in sample.inputs.items() if name != "audio"}
    return replace(sample, inputs=inputs) if inputs else sample


def foreign(sample: Sample) -> Sample:
    """Text in another language: the right number word, in Russian."""
    return changed(sample, "text", lambda _: tri_digits.WORDS["ru"][digits()[int(sample.item.removeprefix("digit-"))]])


@cache
def digits() -> list[int]:
    """The digit of each item."""
    from sklearn.datasets import load_digits

    return [int(target) for target in load_digits().target]


def ignoring(sample: Sample) -> Sample:
    """A client that names one task and puts the question of the other."""
    other = "Which digit is it?" if sample.task == "parity" else "Is the digit even or odd?"
    return replace(sample, instruction=other)


def changed(sample: Sample, modality: str, how: Callable[[Value], Value]) -> Sample:
    """The sample with another value of one modality, where it has it."""
    inputs = {name: how(value) if name == modality else value for name, value in sample.inputs.items()}
    return replace(sample, inputs=inputs)


@contextmanager
def flag(name: str, live_: Live) -> Iterator[None]:
    """A file in the folder of faults."""
    path = live_.faults / name
    path.touch()
    try:
        yield
    finally:
        path.unlink()


@contextmanager
def flooded(clients: Clients) -> Iterator[None]:
    """Many clients more that never pause."""
    until = threading.Event()
    started = clients.more(FLOOD, until)
    try:
        yield
    finally:
        until.set()
        for thread in started:
            thread.join(timeout=15)


@contextmanager
def killed(live_: Live) -> Iterator[None]:
    """SIGKILL, and nobody starts it again until the end."""
    live_.service.kill()
    try:
        yield
    finally:
        live_.start_service()


FAULTS = (
    Fault(
        name="camera inverted",
        must="inputs drift",
        of={"modality": "image"},
        follows=DAMAGE | ACCURACY,
        change=inverted,
    ),
    Fault(
        name="microphone silent",
        must="inputs drift",
        of={"modality": "audio"},
        follows=DAMAGE | ACCURACY,
        change=silent,
    ),
    Fault(
        name="microphone lost",
        must="modality missing",
        of={"modality": "audio"},
        follows=DAMAGE | ACCURACY,
        change=deaf,
    ),
    Fault(
        name="text in another language",
        must="inputs drift",
        of={"modality": "text"},
        follows=DAMAGE | ACCURACY,
        change=foreign,
    ),
    Fault(name="slow encoder", must="latency high", on=lambda live_, _: flag(SLOW, live_)),
    Fault(name="instructions ignored", must="instructions not followed", follows=ACCURACY, change=ignoring),
    Fault(
        name="CPU saturated",
        must="device busy",
        follows=frozenset({"latency high"}),
        on=lambda _, clients: flooded(clients),
    ),
    Fault(name="memory fragmented", must="memory fragmented", on=lambda live_, _: flag(PIECES, live_)),
    Fault(name="service killed", must="service down", on=lambda live_, _: killed(live_)),
    Fault(name="labels flipped", must="accuracy low", follows=ACCURACY, flips=True),
)


class Watcher:
    """Looks at the alerts of a home from outside, and at what a receiver was told."""

    def __init__(self, live_: Live, told: Callable[[], Sequence[Mapping[str, Any]]]) -> None:
        self.live, self.told = live_, told
        self._opened = workspace(live_.home, "watched")
        self.ws = self._opened.__enter__()

    def close(self) -> None:
        """Close the database."""
        self._opened.__exit__(None, None, None)

    def alerts(self, since: float = 0.0) -> list[Alert]:
        """Alerts of rules and jobs that began at or after a moment."""
        with self.ws.database.read() as session:
            found = alerts.list_alerts(session, limit=1000)
        return [alert for alert in found if alert.started_at.timestamp() >= since and alert.severity != "info"]

    def open(self) -> list[Alert]:
        """Those that last."""
        return [alert for alert in self.alerts() if alert.resolved_at is None]

    def knows_speed(self) -> bool:
        """Whether the baseline has the speed of the service."""
        with self.ws.database.read() as session:
            return baseline_in_force(session).reading("latency_p95", "all") is not None

    def was_told(self, alert: Alert, state: str) -> bool:
        """Whether the receiver was told that this alert fires, or has ended."""
        since = (alert.fired_at or alert.started_at).isoformat()
        return any(
            entry["fingerprint"] == alert.fingerprint and entry["state"] == state and entry["since"] >= since[:19]
            for entry in self.told()
        )


def try_fault(fault: Fault, watcher: Watcher, clients: Clients, clean: Stream, seed: int) -> Outcome:
    """Put it in, wait for its alert, mend it, and wait until everything has ended."""
    faulty = [Question.of(fault.change(sample)) for sample in live(NUM_QUESTIONS, seed)]
    began = time.time()

    def found() -> list[Alert]:
        return [alert for alert in watcher.alerts(began) if fault.wants(alert)]

    with fault.on(watcher.live, clients):
        clients.stream = Stream(questions=faulty, flips=fault.flips, pause_s=clean.pause_s)
        is_detected = holds_within(lambda: bool(found()), DETECT_S)
        if is_detected:
            time.sleep(HOLD_S)
        clients.stream, mended = clean, time.time()
    has_ended = holds_within(lambda: not watcher.open(), RESOLVE_S)
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


def warm_up(watcher: Watcher) -> None:
    """Wait until the baseline knows how fast the service is, and nothing fires."""
    wait_until(watcher.knows_speed, 120, "the baseline has the speed of the service")
    holds_within(lambda: not watcher.open(), 60)
    time.sleep(HOLD_S)


def holds_within(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds; whether it did in time."""
    try:
        wait_until(holds, seconds, "it holds")
    except RuntimeError:
        return False
    return True


def named(alert: Alert) -> str:
    """An alert as tables show it."""
    labels = ", ".join(str(value) for key, value in sorted(alert.labels.items()) if key != "metric")
    return f"{alert.name} ({labels})" if labels else alert.name


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


def receiving(hook: Hook) -> dict[str, str]:
    """Settings under which a webhook of this machine is told."""
    return {
        "OMNI_NOTIFY__RECEIVERS": json.dumps({"hook": hook.address}),
        "OMNI_NOTIFY__SIGNING_KEY": "a key of the benchmark alone",
        "OMNI_NOTIFY__ALLOW_PRIVATE": "true",
    }


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
