"""The story's figures, taken at its end on the test split, which nothing in the story has seen."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from db.records import Release, Round
from db.repository import audit, lineage, rounds, samples, versions
from db.rounds import TRAINED, Role
from flows.demo.data import World
from flows.steps.models import load_release, load_version
from flows.steps.stored import load_samples
from flows.steps.tuning import epochs_shown
from flows.workspace import Workspace
from monitoring.measures.continual import continual_scores
from omni_model.acquisition.lift import Lift, lift_over_random
from omni_model.data import tri_digits
from omni_model.evaluate import predict
from omni_model.features import encoder_digest
from omni_model.model import OmniModel
from omni_model.protocol import LoopModel
from omni_model.train import fit


def collect(ws: Workspace, world: World, wall_s: float) -> dict[str, Any]:
    """Everything that the story's report shows, as JSON."""
    with ws.database.read() as session:
        releases = versions.history(session)
        reasons = {entry.version: entry.why for entry in audit.history(session, subject="release") if entry.why}
        all_rounds = sorted(rounds.list_rounds(session), key=lambda row: row.id)
        serving = versions.serving(session).version
    accepted = [release for release in releases if release.state == "accepted"]
    matrix = np.array([test_accuracies(load_release(ws, release), world) for release in accepted])
    scores = continual_scores(matrix, learned_at=learned_at(ws, accepted))
    tuned = [round_ for round_ in all_rounds if round_.base_version is not None]
    lift = lift_of(ws, world, tuned)
    joint, joint_s = joint_accuracy(ws, world)
    final = matrix[[release.version for release in accepted].index(serving or 0)]
    return {
        "versions": [
            {"version": row.version, "parent": row.parent_version, "state": row.state, "reason": reasons[row.version]}
            for row in releases
        ],
        "serving": serving,
        "auto_rollback": any(row.state == "rolled_back" for row in releases),
        "gate_rejected": any(row.state == "rejected" for row in releases),
        "final_accuracy": float(final.mean()),
        "static_accuracy": float(matrix[0].mean()),
        "joint_accuracy": joint,
        "accuracy_by_domain": {
            f"v{release.version}": dict(zip(tri_digits.DOMAINS, row.tolist(), strict=True))
            for release, row in zip(accepted, matrix, strict=True)
        },
        "forgetting": scores.forgetting,
        "backward_transfer": scores.backward_transfer,
        "lift_over_random": lift.ratio,
        "lift_interval": [lift.low, lift.high],
        "lift_counts": asdict(lift),
        "label_share": label_share(ws, world, serving or 0),
        "frozen_unchanged": frozen_unchanged(ws, releases, tuned),
        "joint_training_s": joint_s,
        "tuning_s": sum(row.outputs["tuned"]["fit"]["seconds"] for row in tuned),
        "wall_s": wall_s,
    }


def test_accuracies(model: LoopModel, world: World) -> list[float]:
    """Accuracy on the test split of each domain, in the order of the stream."""
    return [predict(model, world.split(domain, "test")).accuracy for domain in tri_digits.DOMAINS]


def learned_at(ws: Workspace, accepted: Sequence[Release]) -> list[int]:
    """For each domain of the stream, the first accepted version (counted from 0) that was trained on it."""
    first: dict[str, int] = {}
    for step, release in enumerate(accepted):
        with ws.database.read() as session:
            members = rounds.round_samples(session, release.round_id or 0, *TRAINED)
            for sample in samples.get(session, [member.sample_id for member in members]):
                first.setdefault(sample.domain, step)
    return [first.get(domain, len(accepted)) for domain in tri_digits.DOMAINS]


def lift_of(ws: Workspace, world: World, with_selection: Sequence[Round]) -> Lift:
    """Lift of uncertainty over chance, pooled over the rounds: was the selecting version wrong on what was picked?"""
    wrong: dict[Role, list[bool]] = {"selected": [], "control": []}
    for round_ in with_selection:
        for role, flags in wrong.items():
            flags += errors_on(ws, world, round_, role)
    return lift_over_random(wrong["selected"], wrong["control"])


def errors_on(ws: Workspace, world: World, round_: Round, role: Role) -> list[bool]:
    """Whether the version that a round started from was wrong, for each sample that it picked in this role."""
    with ws.database.read() as session:
        picked = samples.get(session, [row.sample_id for row in rounds.round_samples(session, round_.id, role)])
    if not picked:
        return []
    said = predict(load_version(ws, round_.base_version or 0), load_samples(ws, picked))
    return [said.answers[int(said.answer[row])] != world.answers[sample.id] for row, sample in enumerate(picked)]


def joint_accuracy(ws: Workspace, world: World) -> tuple[float, float]:
    """Mean test accuracy, and training seconds, of the same model trained from scratch on every label there is."""
    settings = ws.settings
    train, val = ([s for d in tri_digits.DOMAINS for s in world.split(d, split)] for split in ("train", "val"))
    model = OmniModel(settings.model, [tri_digits.TASK])
    with epochs_shown(ws, "joint training, for comparison", settings.train.epochs) as on_epoch:
        report = fit(model, train, val, settings.train, seed=settings.loop.seed, on_epoch=on_epoch)
    return float(np.mean(test_accuracies(model, world))), report.seconds


def label_share(ws: Workspace, world: World, serving: int) -> float:
    """Labels behind the version in service beyond the first domain, as a share of all later training samples."""
    with ws.database.read() as session:
        used = lineage.trained_on(session, serving)
    later = {s.id for d in tri_digits.DOMAINS[1:] for s in world.split(d, "train")}
    first = {s.id for s in world.split(tri_digits.DOMAINS[0], "train")}
    return len(used - first) / len(later)


def frozen_unchanged(ws: Workspace, releases: Sequence[Release], with_tuning: Sequence[Round]) -> bool:
    """No frozen tensor moved: by each tuning's hashes, and by all versions' encoders being bit for bit the same."""
    reports = [round_.outputs["tuned"]["fit"] for round_ in with_tuning]
    by_hash = all(report["frozen_digest_before"] == report["frozen_digest_after"] for report in reports)
    return by_hash and len({encoder_digest(load_release(ws, release)) for release in releases}) == 1
