"""Faults that are put in: each is told of the modality that it is in, and of none other."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from flows.steps.answering import answer
from flows.steps.capturing import keep_baseline
from flows.steps.ingesting import ingest
from flows.steps.probing import probe
from flows.workspace import Workspace
from omni_model.data import tri_digits
from omni_model.data.writing import write_manifest
from omni_model.sample import Sample, Value
from tests.flows import homes
from tests.flows.rules.turns import open_alerts, turn


@dataclass(frozen=True)
class Fault:
    """What happens to live samples, and the alerts that it must raise and may raise besides."""

    change: Callable[[Sample], Sample]
    must: set[str]
    domain: str = "en"


def inverted(sample: Sample) -> Sample:
    """The camera's picture as a negative."""
    return changed(sample, "image", lambda value: 255 - np.asarray(value))


def quieter(sample: Sample) -> Sample:
    """The microphone's gain turned down to a tenth."""
    return changed(sample, "audio", lambda value: np.asarray(value) * np.float32(0.1))


def garbled(sample: Sample) -> Sample:
    """Text in another script."""
    return changed(sample, "text", lambda _: "пять семь")


def changed(sample: Sample, modality: str, how: Callable[[Value], Value]) -> Sample:
    inputs = {name: how(value) if name == modality else value for name, value in sample.inputs.items()}
    return replace(sample, inputs=inputs)


FAULTS = {
    "none": Fault(lambda sample: sample, set()),
    "camera inverted": Fault(inverted, {"image"}),
    "microphone quiet": Fault(quieter, {"audio"}),
    "another script": Fault(garbled, {"text"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_modality_is_told_of_that_modality_and_of_none_other(
    timed: Workspace, clock: homes.Clock, name: str
) -> None:
    fault = FAULTS[name]
    keep_baseline(timed)
    rows = [fault.change(replace(row, answer=None)) for row in tri_digits.live("en", 64, seed=7)]
    ingest(timed, write_manifest(rows, timed.home / "arrivals" / "faulty"))
    answer(timed, [row.id for row in rows])
    assert probe(timed) > 0
    for _ in range(4):
        turn(timed)
        clock.wait(seconds=60)
    raised = open_alerts(timed)
    of_inputs = [alert for alert in raised if alert.name in ("inputs drift", "embeddings drift")]
    assert {alert.labels["modality"] for alert in of_inputs} == fault.must, [alert.summary for alert in raised]
    assert raised == [] or fault.must, [alert.summary for alert in raised]
