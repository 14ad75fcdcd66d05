"""Validation: the candidate and the version in service answer the same validation samples, and nothing is judged yet.

The per-sample outcomes are stored as the round's evidence, so that the decision can be made again under other limits.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from db.records import LabelledSample, NewMeasurement, Release, Round
from db.repository import measurements, releases, rounds, samples, versions
from flows.failpoints import failpoint
from flows.steps.baselines import baseline_of, remember
from flows.steps.models import load_release
from flows.steps.stored import load_labelled
from flows.workspace import Workspace
from monitoring.comparison import Comparison, compare, to_json
from monitoring.config import EVERYTHING
from monitoring.outcomes import PairedOutcomes
from monitoring.pairing import pair
from omni_model.evaluate import Predictions, predict
from omni_model.features import encode_samples
from omni_model.protocol import LoopModel
from omni_model.sample import Sample


def validate(ws: Workspace, round_: Round, release: Release) -> Round:
    """Measure the round's candidate against the version in service and move the round to ``validated``."""
    with ws.database.read() as session:
        serving = versions.serving(session).version
        labelled = samples.labelled(session, split="val")
    outputs = measure_pair(ws, release, serving, labelled) if serving else measure_alone(ws, release, labelled)
    baseline = outputs.pop("baseline")
    failpoint("validate.measured")
    with ws.database.write() as session:
        remember(session, release.version, baseline, now=ws.clock())
        measurements.add(session, per_domain(release.version, outputs["accuracy_by_domain"]), now=ws.clock())
        releases.add_metrics(session, release.version, {"accuracy": outputs["accuracy"]})
        if outputs["evidence"]:
            rounds.set_evidence(session, round_.id, outputs["evidence"], now=ws.clock())
        moved = rounds.advance(session, round_.id, "validated", outputs, now=ws.clock())
    failpoint("validate.committed")
    return moved


def measure_alone(ws: Workspace, release: Release, labelled: list[LabelledSample]) -> dict[str, Any]:
    """The figures of a first version, with nothing to compare it to."""
    predictions = predict(load_release(ws, release), load_labelled(ws, labelled))
    ws.reporter.say(f"validate    v{release.version}: accuracy {predictions.accuracy:.3f} on {len(labelled)} samples")
    return {
        "against": None,
        "evidence": None,
        "comparisons": None,
        "accuracy": measured(predictions.accuracy),
        "accuracy_by_domain": by_domain(predictions),
        "baseline": baseline_of(predictions),
        "num_samples": len(labelled),
    }


def measure_pair(ws: Workspace, release: Release, serving: int, labelled: list[LabelledSample]) -> dict[str, Any]:
    """Both versions on the same samples: the evidence as a blob, the comparisons as another."""
    with ws.database.read() as session:
        in_service = versions.get_release(session, serving)
    loaded = load_labelled(ws, labelled)
    paired, predictions = outcomes(
        ws, load_release(ws, in_service), load_release(ws, release), loaded, serving, release.version
    )
    comparisons = compare(paired, seed=ws.settings.loop.seed)
    ws.reporter.say(
        f"validate    v{release.version} against v{serving} on {len(labelled)} samples: {headline(comparisons)}"
    )
    return {
        "against": serving,
        "evidence": ws.blobs.put(paired.to_bytes()),
        "comparisons": ws.blobs.put(to_json(comparisons).encode()),
        "accuracy": measured(predictions.accuracy),
        "accuracy_by_domain": by_domain(predictions),
        "baseline": baseline_of(predictions),
        "num_samples": len(labelled),
        "answers": list(predictions.answers),
    }


def headline(comparisons: Sequence[Comparison]) -> str:
    """The change of accuracy on all samples, in words."""
    for row in comparisons:
        if (row.metric, row.slice) == ("accuracy", EVERYTHING):
            interval = f"interval {row.low:+.1%} to {row.high:+.1%}"
            return f"accuracy {row.old:.3f} → {row.new:.3f} ({row.relative_change:+.1%}, {interval})"
    return "accuracy was not measured"


def measured(value: float) -> float | None:
    """None for NaN, which JSON does not know: without labels there is no accuracy."""
    return value if isfinite(value) else None


def outcomes(
    ws: Workspace, old: LoopModel, new: LoopModel, loaded: list[Sample], old_version: int, new_version: int
) -> tuple[PairedOutcomes, Predictions]:
    """What both models answer, with all modalities and with each taken away; and the new one's predictions."""
    old_features, new_features = encode_samples(old, loaded), encode_samples(new, loaded)
    modalities = sorted({name for sample in loaded for name in sample.inputs})
    ablated = {
        name: (predict(old, old_features.without([name])), predict(new, new_features.without([name])))
        for name in modalities
        if len(modalities) > 1
    }
    predictions = predict(new, new_features)
    paired = pair(
        predict(old, old_features),
        predictions,
        old_version=old_version,
        new_version=new_version,
        measured_at=ws.clock(),
        items={sample.id: sample.item for sample in loaded},
        without=ablated,
    )
    return paired, predictions


def by_domain(predictions: Predictions) -> dict[str, dict[str, float]]:
    """Accuracy and number of rows by domain."""
    table: dict[str, dict[str, float]] = {}
    for domain in sorted(set(predictions.domains.tolist())):
        rows = (predictions.domains == domain) & (predictions.target >= 0)
        if rows.any():
            right = (predictions.answer == predictions.target)[rows]
            table[str(domain)] = {"accuracy": float(right.mean()), "num_samples": int(rows.sum())}
    return table


def per_domain(version: int, table: Mapping[str, Mapping[str, float]]) -> list[NewMeasurement]:
    """One measurement a domain: a row of the version × domain matrix."""
    return [
        NewMeasurement(
            metric="validation_accuracy",
            value=row["accuracy"],
            slice=f"domain={domain}",
            version=version,
            num_samples=int(row["num_samples"]),
        )
        for domain, row in table.items()
    ]
