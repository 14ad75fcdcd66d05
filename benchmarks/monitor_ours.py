"""Our own rules on a stream of answered samples: the product's measures, default rules and state machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from benchmarks.monitor_streams import Answered
from monitoring.alerting.evaluating import Reading, evaluate
from monitoring.alerting.machine import FIRED, AlertState, Policy, fresh, step
from monitoring.alerting.reading import default_text, parse_rules
from monitoring.measures.probe import Reference, alignment_numbers, drift_numbers, follow_number, presence_numbers
from monitoring.measures.window import Number, Row, measure_feedback
from omni_model.sample import AUDIO_RATE_HZ

ROWS = 64
"""Samples that are asked again; the default of `OMNI_ALERTING__SAMPLE_ROWS`."""
EACH, EACH_S = 32, 120.0
"""A look after so many samples, which take so many seconds of the rules' time."""
METRICS = (
    "alignment_error",
    "instruction_following",
    "accuracy",
    "modality_drift",
    "descriptor_drift",
    "modality_presence",
)


def alarms(reference: Answered, rows: Answered) -> dict[str, list[int]]:
    """By rule, the places at which it fires (pending for its time and then firing), each time anew."""
    rules = [rule for rule in parse_rules(default_text()).rules if rule.metric in METRICS and rule.by != "domain"]
    against, known = described(reference, slice(None)), base_of(reference)
    expected = sorted({name for given in reference.modalities for name in given})
    states: dict[tuple[str, str], AlertState] = {}
    found: dict[str, list[int]] = {}
    for end in range(ROWS, len(rows) + 1, EACH):
        now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=EACH_S * end / EACH)
        numbers = numbers_of(rows, end, against, expected)
        for rule in rules:
            for number in numbers:
                kind = number.slice.partition("=")[0]
                if number.metric != rule.metric or kind != rule.by:
                    continue
                reading = Reading(value=number.value, num_samples=number.num_samples, spread=number.spread)
                state = states.get((rule.name, number.slice), fresh(now))
                status = evaluate(
                    rule, reading, known.get((number.metric, number.slice)), is_breached=state.is_breached
                )
                state = step(state, status.status, Policy(for_s=rule.for_s, keep_firing_s=rule.keep_firing_s), now)
                states[rule.name, number.slice] = state
                if state.event == FIRED:
                    found.setdefault(rule.name, []).append(end - 1)
    return found


def numbers_of(rows: Answered, end: int, against: Reference, expected: list[str]) -> list[Number]:
    """What the last samples up to a place say."""
    last = slice(end - ROWS, end)
    followed = rows.has_followed[last].tolist()
    numbers = [follow_number(followed), *presence_numbers(rows.modalities[last], expected)]
    numbers += alignment_numbers({name: value[last] for name, value in rows.embeddings.items()}, ROWS)
    numbers += drift_numbers(against, described(rows, last))
    return numbers + accuracy_of(rows, slice(max(0, end - 1000), end))


def base_of(reference: Answered) -> dict[tuple[str, str], Reading]:
    """The baseline of what the rules hold to one."""
    numbers = [
        *presence_numbers(reference.modalities),
        follow_number(reference.has_followed.tolist()),
        *alignment_numbers(dict(reference.embeddings), ROWS),
        *accuracy_of(reference, slice(None)),
    ]
    return {
        (number.metric, number.slice): Reading(value=number.value, num_samples=number.num_samples, spread=number.spread)
        for number in numbers
    }


def accuracy_of(rows: Answered, part: slice) -> list[Number]:
    """Accuracy with feedback on every answer."""
    row = Row(domain="en", task="", modalities="")
    return measure_feedback([replace(row, is_correct=bool(hit)) for hit in rows.is_right[part]], kinds=())


def described(rows: Answered, part: slice) -> Reference:
    """Embeddings and descriptors."""
    embeddings: Mapping[str, np.ndarray] = {
        name: np.asarray(value[part], dtype=np.float64) for name, value in rows.embeddings.items()
    }
    inputs = [dict(sample.inputs) for sample in rows.samples[part]]
    return Reference.of(embeddings, inputs, rate_hz=float(AUDIO_RATE_HZ))
