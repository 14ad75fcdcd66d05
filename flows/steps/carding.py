"""The model card of a version: measured on labelled validation samples, kept with it in the blob store and in MLflow.

Making it changes nothing in service and holds no lock; the card made last counts.
"""

import tempfile
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from db.records import Release, Round
from db.records.artefacts import CARD, Artefact
from db.repository import artefacts, lineage, rounds, samples, versions
from flows.errors import RegistryError
from flows.steps.baselines import combination
from flows.steps.models import load_release
from flows.steps.probing import balance
from flows.steps.selectors import spread
from flows.steps.stored import load_labelled
from flows.workspace import Workspace
from monitoring.card_facts import CardFacts, Gate, Measured, Scored
from monitoring.comparison import from_json
from monitoring.measures.alignment import alignment
from monitoring.measures.calibration import brier, ece, nll
from monitoring.measures.probe import subsets_of
from monitoring.model_card import render
from omni_model.evaluate import Predictions, predict
from omni_model.features import FeatureSet, encode_samples
from omni_model.protocol import LoopModel

MOST_ROWS = 1000
"""Validation samples that a card is measured on; of more, some at even distances."""
MOST_MODALITIES = 6
"""With more, subsets are not measured."""
FILE = "model_card.md"
FIGURES = ("epochs", "best_epoch", "seconds", "samples_seen", "trained_parameters", "compute", "best_val")
SHOWN_OF_ALL = ("accuracy", "balanced_accuracy", "instruction_following", "ece", "alignment_error", "latency_p50")


def card_of(ws: Workspace, version: int) -> str | None:
    """The version's card, None if none was made. Raises `BlobError` if its bytes cannot be read."""
    with ws.database.read() as session:
        found = artefacts.newest(session, version, CARD)
    return None if found is None else ws.blobs.get(found.digest).decode()


def make_card(ws: Workspace, version: int) -> Artefact:
    """Measure a version, render its card, and keep it. Raises `NotFound` for an unknown version.

    An MLflow that fails is told of and nothing more: the card is kept all the same.
    """
    with ws.database.read() as session:
        release = versions.get_release(session, version)
        round_ = None if release.round_id is None else rounds.get_round(session, release.round_id)
        labelled = spread(samples.labelled(session, split="val"), MOST_ROWS)
    model = load_release(ws, release)
    measured = measure(model, encode_samples(model, load_labelled(ws, labelled)))
    with ws.database.read() as session:
        facts = facts_of(ws, session, release, round_, model, measured)
    card = render(facts)
    digest = ws.blobs.put(card.encode())
    with ws.database.write() as session:
        made = artefacts.put(session, version, CARD, digest, now=ws.clock(), detail=figures(measured))
    if release.mlflow_run_id is not None:
        log(ws, release.mlflow_run_id, card)
    ws.reporter.say(f"card        v{version}: measured on {measured.overall.num_samples} validation samples")
    return made


def log(ws: Workspace, run_id: str, card: str) -> None:
    """Keep the card with the round's run in MLflow."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        path.write_text(card, encoding="utf-8")
        try:
            ws.registry.log_file(run_id, path, "card")
        except RegistryError as error:
            ws.reporter.say(f"card        {error}")


def measure(model: LoopModel, features: FeatureSet) -> Measured:
    """What a version answers to labelled rows; no rows give figures that are None."""
    said = predict(model, features)
    right, known = said.answer == said.target, said.target >= 0
    target_probability = said.probs[np.flatnonzero(known), said.target[known]]
    names = sorted({name for there in said.modalities for name in there})
    shares = next(iter(balance(model, features)), None)
    return Measured(
        overall=Scored(name="all", num_right=int(right[known].sum()), num_samples=int(known.sum())),
        domains=[scored(said, name, said.domains == name) for name in sorted(set(said.domains.tolist()))],
        subsets=by_subset(model, features, names),
        following=finite(float(np.mean(said.raw_answer == said.answer)) if len(said) else float("nan")),
        ece=finite(ece(said.confidence[known], right[known])),
        nll=finite(nll(target_probability)),
        brier=finite(brier(said.probs[known], said.target[known])),
        temperature=model.temperature,
        balance=None if shares is None else shares.value,
        shapley={} if shares is None else shares.detail["shapley"],
        pairs=alignment({name: value.astype(np.float64) for name, value in said.embeddings.items()}).pairs,
    )


def by_subset(model: LoopModel, features: FeatureSet, names: list[str]) -> list[Scored]:
    """Accuracy with only a subset shown, of the rows that have it all; subsets that no row has are left out."""
    found = []
    for subset in subsets_of(names) if len(names) <= MOST_MODALITIES else []:
        rows = [at for at, there in enumerate(features.modalities) if subset <= there]
        if subset and rows:
            said = predict(model, features.select(rows).only(subset))
            found.append(scored(said, combination(subset), np.ones(len(rows), dtype=bool)))
    return found


def scored(said: Predictions, name: str, rows: "np.ndarray[Any, np.dtype[np.bool_]]") -> Scored:
    """The right answers among some rows with a target."""
    rows = rows & (said.target >= 0)
    return Scored(name=name, num_right=int((said.answer == said.target)[rows].sum()), num_samples=int(rows.sum()))


def facts_of(
    ws: Workspace, session: Session, release: Release, round_: Round | None, model: LoopModel, measured: Measured
) -> CardFacts:
    """What the database knows of a version, beside what was measured."""
    tuned: Mapping[str, Any] = {} if round_ is None else round_.outputs.get("tuned", {})
    counts: dict[str, dict[str, int]] = {}
    for (split, domain), num in sorted(samples.count_samples(session).items()):
        counts.setdefault(domain, {})[split] = num
    return CardFacts(
        model=ws.settings.registered_model,
        version=release.version,
        state=release.state,
        made_at=ws.clock(),
        architecture=model.architecture,
        digest=release.digest,
        parent=release.parent_version,
        ancestors=lineage.ancestors(session, release.version),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        stored_bytes=tuned.get("bytes"),
        description={key: value for key, value in model.describe().items() if value},
        tasks={task.name: task.answers for task in model.tasks},
        trigger="nobody" if round_ is None else round_.trigger,
        training={key: tuned.get("fit", {}).get(key) for key in FIGURES},
        roles={} if round_ is None else rounds.count_round_samples(session, round_.id),
        num_learnt=len(lineage.trained_on(session, release.version)),
        num_tainted=lineage.count_tainted(session, release.version),
        snapshot="" if round_ is None else round_.snapshot,
        samples=counts,
        measured=measured,
        gate=gate_of(round_, ws.blobs.get),
    )


def gate_of(round_: Round | None, read: Callable[[str], bytes]) -> Gate | None:
    """The verdict of a round and the rows that a reader looks for first; None before its decision."""
    if round_ is None or "decided" not in round_.outputs:
        return None
    decided, validated = round_.outputs["decided"], round_.outputs["validated"]
    stored = validated["comparisons"]
    rows = [
        (row.metric, row.slice, row.old, row.new, row.low, row.high, row.num_samples)
        for row in (from_json(read(stored).decode()) if stored else [])
        if (row.slice == "all" and row.metric in SHOWN_OF_ALL)
        or (row.metric == "accuracy" and row.slice.startswith(("domain=", "without=")))
    ]
    return Gate(verdict=decided["verdict"], reasons=decided["reasons"], against=validated["against"], rows=rows)


def figures(measured: Measured) -> dict[str, Any]:
    """What stands beside the card's bytes, as JSON."""
    whole = measured.overall
    return {
        "accuracy": whole.num_right / whole.num_samples if whole.num_samples else None,
        "num_samples": whole.num_samples,
        "ece": measured.ece,
        "balance": measured.balance,
        "alignment_error": float(np.mean([pair.error for pair in measured.pairs])) if measured.pairs else None,
        "by_domain": {row.name: row.num_right / row.num_samples for row in measured.domains if row.num_samples},
    }


def finite(value: float) -> float | None:
    """None for what JSON does not know."""
    return value if isfinite(value) else None
