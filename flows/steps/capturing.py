"""Baselines of what is watched: what a version was like when it was accepted, with the samples and spread behind it.

Quality comes from validation, whose answers are known; speed comes from live traffic once there is enough of it, and
is that of the version before until then. A version on probation is held to the version before it. Earlier baselines are
kept, and a person can capture a new one at any time.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from db.records import Baseline
from db.repository import measurements, samples, versions
from flows.errors import NothingInService
from flows.steps.known import NAME, Known, baseline_in_force
from flows.workspace import Workspace
from monitoring.measures.window import ALL, OF_LOG, Number

if TYPE_CHECKING:
    from omni_model.sample import Sample

LIVE_ROWS = 200
"""Answers from which on live traffic says how fast a version is."""
LIVE_WINDOW_S = 900.0
RELEASE = "the release"
"""Who captures a baseline when a version was accepted."""


def keep_baseline(ws: Workspace) -> Baseline | None:
    """Capture a baseline if an accepted version has none, or add its speed once it is known; None if nothing is due."""
    with ws.database.read() as session:
        version = versions.serving(session).version
        known = baseline_in_force(session)
        if version is None or versions.get_release(session, version).state != "accepted":
            return None
    if known.version != version:
        return capture(ws, who=RELEASE, why=f"v{version} is accepted and in service.")
    speed = known.metrics.get(ALL, {}).get("latency_p95", {})
    if speed.get("version") == version:
        return None
    live = live_metrics(ws, version)
    if not live:
        return None
    return _store(ws, version, merged(known.metrics, live), known, who=RELEASE, why=f"How fast v{version} is.")


def capture(ws: Workspace, *, who: str, why: str) -> Baseline:
    """Measure the version in service on validation samples and on its recent traffic, and make that the baseline."""
    from flows.steps.probing import Probe, probe_validation

    with ws.database.read() as session:
        version = versions.serving(session).version
        before = baseline_in_force(session)
    if version is None:
        raise NothingInService("No version is in service, so there is nothing to take a baseline of.")
    loaded = validation_samples(ws)
    probed: Probe = probe_validation(ws, version, loaded)
    carried = {
        slice_: {metric: dict(entry) for metric, entry in of_slice.items() if metric in OF_LOG}
        for slice_, of_slice in before.metrics.items()
    }
    metrics = merged(merged(carried, as_entries(probed.numbers, version)), live_metrics(ws, version))
    known = Known(reference=ws.blobs.put(probed.reference), gallery=probed.gallery)
    return _store(ws, version, metrics, known, who=who, why=why)


def validation_samples(ws: Workspace) -> "list[Sample]":
    """Labelled validation samples, every n-th if there are more than the settings allow."""
    from flows.steps.stored import load_labelled

    with ws.database.read() as session:
        labelled = samples.labelled(session, split="val")
    step = -(-len(labelled) // int(ws.settings.alerting.baseline_rows)) or 1
    return load_labelled(ws, labelled[::step])


def live_metrics(ws: Workspace, version: int) -> dict[str, dict[str, dict[str, Any]]]:
    """What recent traffic says of a version's speed and confidence; empty with too little of it."""
    from flows.steps.measuring import log_numbers

    numbers = log_numbers(ws, version, LIVE_WINDOW_S, ws.clock())
    enough = {number.slice for number in numbers if number.metric == "latency_p95" and number.num_samples >= LIVE_ROWS}
    return as_entries((number for number in numbers if number.slice in enough), version) if ALL in enough else {}


def as_entries(numbers: Iterable[Number], version: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Numbers by slice and metric; without those that could not be measured."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for number in numbers:
        if number.value is not None:
            found.setdefault(number.slice, {})[number.metric] = {
                "value": number.value,
                "num_samples": number.num_samples,
                "spread": number.spread,
                "version": version,
            }
    return found


def merged(
    old: Mapping[str, Mapping[str, Mapping[str, Any]]], new: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Both, the new one where both know a metric of a slice.

    >>> merged({"all": {"a": {"value": 1}}}, {"all": {"a": {"value": 2}}, "domain=ru": {"a": {"value": 3}}})["all"]
    {'a': {'value': 2}}
    """
    return {slice_: {**old.get(slice_, {}), **new.get(slice_, {})} for slice_ in sorted({*old, *new})}


def _store(
    ws: Workspace,
    version: int,
    metrics: Mapping[str, Mapping[str, Mapping[str, Any]]],
    known: Known,
    *,
    who: str,
    why: str,
) -> Baseline:
    values = {
        "metrics": metrics,
        "reference": known.reference,
        "gallery": known.gallery,
        "who": who,
        "why": why,
    }
    with ws.database.write() as session:
        return measurements.set_baseline(session, NAME, values, version=version, now=ws.clock())
