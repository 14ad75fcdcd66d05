"""What breaks: inputs, clients, encoders, memory, processor, service, feedback; and which alert must tell of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np

from benchmarks.monitor_home import live
from benchmarks.monitor_models import PIECES, SLOW
from benchmarks.monitor_service import FIRST, Live, prefer
from benchmarks.monitor_traffic import Question
from benchmarks.serve_load import Load, loading
from db.records import Alert
from omni_model.data import tri_digits
from omni_model.sample import Sample, Value

NUM_QUESTIONS = 800
FLOOD = 24
ACCURACY = frozenset({"accuracy low", "accuracy low in a domain"})
STARTING = frozenset({"service down", "service failing"})
"""A service that starts again is gone for some seconds and then refuses requests for some, which lasts longer than the
accelerated rules wait; at their own pace it is over before."""
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
    on: Callable[[Live], AbstractContextManager[None]] = lambda _live: nullcontext()

    def wants(self, alert: Alert) -> bool:
        """Whether this is the alert that must come."""
        return alert.name == self.must and all(alert.labels.get(key) == value for key, value in self.of.items())

    def allows(self, alert: Alert) -> bool:
        """Whether it may come: what is told of a modality must be told of the right one."""
        modality = alert.labels.get("modality")
        if modality is not None and modality != self.of.get("modality"):
            return False
        return alert.name == self.must or alert.name in self.follows


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
def flooded(live_: Live) -> Iterator[None]:
    """Many clients more that never pause, from a process of their own, with the service's priority."""
    bodies = live_.faults.with_suffix(".jsonl")
    rows = live(NUM_QUESTIONS, seed=5)
    bodies.write_text("".join(Question.of(row).body.decode() + "\n" for row in rows), encoding="utf-8")
    load = Load(port=live_.port, path="/v1/predict", bodies=str(bodies), clients=FLOOD)
    prefer(FIRST)
    try:
        with loading(load):
            yield
    finally:
        prefer(0)


@contextmanager
def in_pieces(live_: Live) -> Iterator[None]:
    """Memory in pieces until the service is started again, which is the mend that the rule names."""
    with flag(PIECES, live_):
        yield
    with killed(live_):
        """Started again at its end."""


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
    Fault(name="slow encoder", must="latency high", on=lambda live_: flag(SLOW, live_)),
    Fault(name="instructions ignored", must="instructions not followed", follows=ACCURACY, change=ignoring),
    Fault(
        name="CPU saturated",
        must="device busy",
        follows=frozenset({"latency high"}),
        on=lambda live_: flooded(live_),
    ),
    Fault(name="memory fragmented", must="memory fragmented", follows=STARTING, on=lambda live_: in_pieces(live_)),
    Fault(name="service killed", must="service down", follows=STARTING, on=lambda live_: killed(live_)),
    Fault(name="labels flipped", must="accuracy low", follows=ACCURACY, flips=True),
)
