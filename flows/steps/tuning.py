"""Training: the first version from scratch, every later one elastically from the last accepted version.

What is trained is written as a checkpoint folder into the blob store and named by its digest; nothing serves it yet.
A killed training goes on from its own checkpoints, so its weights are the same as if nothing had happened.
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from db.records import LabelledSample, Round, RoundSample, StoredSample
from db.repository import labels, lineage, rounds, samples, versions
from flows.failpoints import failpoint
from flows.steps.curves import Curves
from flows.steps.models import load_version, materialise, new_model, task_specs
from flows.steps.profiling import within_budget
from flows.steps.stored import load_labelled, load_samples
from flows.workspace import Workspace
from omni_model import checkpoint
from omni_model.config import ElasticConfig
from omni_model.elastic import tune
from omni_model.features import FeatureSet, encode_samples, prepare_samples
from omni_model.protocol import LoopModel
from omni_model.sample import Sample
from omni_model.train import EpochStats, FitReport, fit


class NothingToTrain(ValueError):
    """There are too few new labels for a round."""


class Superseded(ValueError):
    """The version that a round started from is not the one accepted last any more."""


def train_first(ws: Workspace, round_: Round) -> Round:
    """Train a model from scratch on every labelled training sample and move the round to ``tuned``."""
    with ws.database.read() as session:
        train = samples.labelled(session, split="train")
        val = samples.labelled(session, split="val")
    if not train:
        raise NothingToTrain("No training sample has a label. Ingest a manifest with answers, or label some samples.")
    model = new_model(ws, list(task_specs(ws).values()))
    config = ws.settings.train
    place = training_folder(ws, round_, train, val, config)
    with epochs_shown(ws, "train", config.epochs, Curves(ws, round_, place.name)) as on_epoch:
        report = fit(
            model,
            load_labelled(ws, train),
            load_labelled(ws, val),
            config,
            seed=ws.settings.loop.seed,
            on_epoch=on_epoch,
            checkpoint_dir=place,
        )
    members = [RoundSample(sample_id=entry.sample.id, role="base") for entry in train]
    return store(ws, round_, model, report, members, base_digest=None)


def tune_round(ws: Workspace, round_: Round) -> Round:
    """Tune the last accepted version on what it has not been trained on yet, with replay of what it has.

    Raises :class:`NothingToTrain`, or :class:`Superseded` if another version was accepted since the round opened, or
    its base was taken back: what would come of it could not be promoted.
    """
    if round_.base_version is None:
        raise ValueError("This round has no version to start from. Train the first one with `omniloop train`.")
    check_base(ws, round_)
    new, replay, val = training_sets(ws, round_)
    unlabelled = unlabelled_members(ws, round_)
    if len(new) < ws.settings.loop.min_new_labels:
        raise NothingToTrain(
            f"{len(new)} newly labelled training samples are fewer than the {ws.settings.loop.min_new_labels} that a "
            "round needs. Label more, or lower OMNI_LOOP__MIN_NEW_LABELS."
        )
    with ws.database.read() as session:
        parent = versions.get_release(session, round_.base_version)
    model = load_version(ws, round_.base_version)
    config = ws.settings.elastic
    place = training_folder(ws, round_, new, replay, val, [sample.id for sample in unlabelled], config)
    seed = ws.settings.loop.seed + round_.id
    sets = (
        features_for(model, config, [*load_labelled(ws, new), *load_samples(ws, unlabelled)]),
        features_for(model, config, load_labelled(ws, replay)),
        features_for(model, config, load_labelled(ws, val)),
    )
    config, profile = within_budget(ws, place, model, sets, config, seed)
    with epochs_shown(ws, "tune", config.epochs, Curves(ws, round_, place.name)) as on_epoch:
        report = tune(model, *sets, config, seed=seed, on_epoch=on_epoch, checkpoint_dir=place)
    with ws.database.read() as session:
        known = {member.sample_id for member in rounds.round_samples(session, round_.id)}
    members = [RoundSample(sample_id=entry.sample.id, role="arrived") for entry in new if entry.sample.id not in known]
    members += [RoundSample(sample_id=entry.sample.id, role="replay") for entry in replay]
    base = parent.base_digest or parent.digest
    return store(ws, round_, model, report, members, base_digest=base, profile=profile)


def check_base(ws: Workspace, round_: Round) -> None:
    """Raise :class:`Superseded` unless the round's base is still the version accepted last."""
    with ws.database.read() as session:
        newest = versions.last_accepted(session)
    if newest is None or newest.version != round_.base_version:
        raise Superseded(
            f"Round {round_.id} started from v{round_.base_version}, but v{newest.version if newest else '?'} is the "
            "version accepted last by now. The round ends here; the next one takes its labels along."
        )


def training_sets(
    ws: Workspace, round_: Round
) -> tuple[list[LabelledSample], list[LabelledSample], list[LabelledSample]]:
    """What the base version has not seen, what it has, and the validation samples. Quarantined labels are in none."""
    assert round_.base_version is not None
    with ws.database.read() as session:
        train = samples.labelled(session, split="train")
        val = samples.labelled(session, split="val")
        seen = lineage.trained_on(session, round_.base_version)
    new = [entry for entry in train if entry.sample.id not in seen]
    return new, [entry for entry in train if entry.sample.id in seen], val


def unlabelled_members(ws: Workspace, round_: Round) -> list[StoredSample]:
    """The samples drawn beside the selected ones that nobody has labelled since."""
    with ws.database.read() as session:
        drawn = rounds.round_samples(session, round_.id, "unlabelled")
        free = [row.sample_id for row in drawn if labels.active_label(session, row.sample_id) is None]
        return samples.get(session, free)


def features_for(model: LoopModel, config: ElasticConfig, loaded: Sequence[Sample]) -> FeatureSet:
    """Encoded once where the encoders stay as they are, prepared only where they may move."""
    make = encode_samples if config.mode == "interaction" and not config.also else prepare_samples
    return make(model, loaded)


def store(
    ws: Workspace,
    round_: Round,
    model: LoopModel,
    report: FitReport,
    members: Sequence[RoundSample],
    base_digest: str | None,
    profile: dict[str, Any] | None = None,
) -> Round:
    """Keep the trained model in the blob store and move the round to ``tuned``."""
    failpoint("tune.trained")
    folder = ws.round_folder(round_.id) / "model"
    shutil.rmtree(folder, ignore_errors=True)
    if base_digest is None:
        checkpoint.save(model, folder)
    else:
        base = materialise(ws, base_digest)
        checkpoint.save_delta(model, checkpoint.digest(base), base, folder)
    digest = ws.blobs.put_folder(folder)
    failpoint("tune.stored")
    outputs: dict[str, Any] = {
        "digest": digest,
        "base_digest": base_digest,
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "num_new": sum(member.role != "replay" for member in members),
        "fit": report_json(report),
    } | ({"profile": profile} if profile else {})
    with ws.database.write() as session:
        rounds.add_round_samples(session, round_.id, members)
        moved = rounds.advance(session, round_.id, "tuned", outputs, now=ws.clock())
    failpoint("tune.committed")
    ws.reporter.say(
        f"tune        {report.epochs} epochs in {report.seconds:.1f} s, {report.trained_parameters:,} parameters "
        f"moved, {outputs['bytes'] / 1e6:.1f} MB stored"
    )
    return moved


def report_json(report: FitReport) -> dict[str, Any]:
    """A fit report without NaN, which JSON does not know."""
    raw = asdict(report) | {"compute": report.compute}
    return {key: _finite(value) for key, value in raw.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list) else value


@contextmanager
def epochs_shown(ws: Workspace, title: str, epochs: int, curves: Curves | None = None) -> Iterator[Any]:
    """A bar over the epochs, and the curves for the pages, as the callback that training wants."""
    with ws.reporter.bar(title, epochs) as tick:
        shown = 0

        def on_epoch(stats: EpochStats) -> None:
            nonlocal shown
            tick(stats.epoch - shown)
            shown = stats.epoch
            failpoint("tune.epoch")
            if curves is not None:
                curves.tell(stats)

        yield on_epoch
        if curves is not None:
            curves.write()


def training_folder(ws: Workspace, round_: Round, *parts: object) -> Path:
    """Where a training keeps what it resumes from. ``parts`` are what it learns from, and how: labels that change while
    it is dead make it another training, which starts anew.
    """
    name = hashlib.blake2b(repr(parts).encode(), digest_size=8).hexdigest()
    return ws.round_folder(round_.id) / f"training-{name}"
