"""Another architecture for the version accepted last: searched for with Optuna, kept as a proposal, trained by a round.

A search changes nothing. What it proposes becomes a candidate like any other, and the same gate decides about it.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from sqlalchemy.orm import Session

from db.records import LabelledSample, Release, Round, RoundSample
from db.records.artefacts import ARCHITECTURE, Artefact
from db.repository import artefacts, samples, versions
from flows.errors import NothingInService, NothingToDo
from flows.steps.models import load_release, load_version
from flows.steps.selectors import spread
from flows.steps.stored import load_labelled
from flows.steps.tuning import NothingToTrain, check_base, epochs_shown, store, training_folder
from flows.workspace import Workspace
from omni_model.config import ModelConfig
from omni_model.evolve import TooSlow, Worth, changes, propose, worth
from omni_model.features import encode_samples
from omni_model.inherit import child_of
from omni_model.model import OmniModel
from omni_model.train import fit

NEIGHBOURS = 1 / 3
"""Share of the trials that change the present architecture in one place; the sampler learns from them."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a search found."""

    version: int
    """The version that it went out from."""
    present: Worth
    """The present architecture, tuned as long as the others."""
    best: Worth
    config: ModelConfig
    """The best architecture, perhaps the present one."""
    num_tried: int
    num_too_slow: int
    proposal: Artefact | None
    """None if nothing was better by enough."""


def search(ws: Workspace) -> Search:
    """Look for an architecture that answers better than that of the version accepted last, in the time it may take.

    Keeps the best one as a proposal if it is better by enough. Raises `NothingInService` without a version and
    `NothingToDo` where there is nothing to learn from, or a model that is not ours.
    """
    release, parent = parent_of(ws)
    with ws.database.read() as session:
        train = spread(samples.labelled(session, split="train"), ws.settings.evolve.max_rows)
        val = samples.labelled(session, split="val")
    if not train or not val:
        raise NothingToDo(
            f"There are {len(train)} labelled training samples and {len(val)} for validation. Label some."
        )
    found = explore(ws, parent, train, val)
    present, tried = found[0][1], [(config, made) for config, made in found if made is not None]
    assert present is not None
    config, best = min(tried, key=lambda row: row[1].loss)
    proposal = None
    if best.loss < present.loss * (1 - ws.settings.evolve.min_gain):
        proposal = keep(ws, release, parent.config, config, present, best)
    ws.reporter.say(told(release, parent.config, config, present, best, found))
    return Search(
        version=release.version,
        present=present,
        best=best,
        config=config,
        num_tried=len(tried),
        num_too_slow=len(found) - len(tried),
        proposal=proposal,
    )


def parent_of(ws: Workspace) -> tuple[Release, OmniModel]:
    """The version accepted last and its model."""
    with ws.database.read() as session:
        release = versions.last_accepted(session)
    if release is None:
        raise NothingInService("There is no version to go out from. Train the first one with `omniloop train`.")
    model = load_release(ws, release)
    if not isinstance(model, OmniModel):
        raise NothingToDo(f"v{release.version} is a {type(model).__name__}, whose architectures only its author knows.")
    return release, model


def explore(
    ws: Workspace, parent: OmniModel, train: Sequence[LabelledSample], val: Sequence[LabelledSample]
) -> list[tuple[ModelConfig, Worth | None]]:
    """Architectures with their worth (None: too slow), the present one first. An architecture is tried once."""
    loaded = load_labelled(ws, val)
    rows, held_out = encode_samples(parent, load_labelled(ws, train)), encode_samples(parent, loaded)
    timed = sorted(loaded, key=lambda sample: -len(sample.inputs))[: ws.settings.evolve.latency_rows]
    evolve, elastic, seed = ws.settings.evolve, ws.settings.elastic, ws.settings.loop.seed

    def tried(config: ModelConfig) -> Worth:
        return worth(parent, config, rows, held_out, timed, evolve, elastic, seed=seed)

    found: list[tuple[ModelConfig, Worth | None]] = []
    with ws.reporter.bar("evolve", evolve.trials) as tick:
        found.append((parent.config, tried(parent.config)))
        tick(1)
        study = new_study(parent.config, evolve.trials, seed)
        for _ in range(1, evolve.trials):
            trial = study.ask()
            config = propose(lambda name, choices: trial.suggest_categorical(name, list(choices)), parent.config)  # noqa: B023
            known = {repr(each): made for each, made in found}
            try:
                made = known[repr(config)] if repr(config) in known else tried(config)
            except TooSlow:
                made = None
            state = optuna.trial.TrialState.PRUNED if made is None else None
            study.tell(trial, None if made is None else made.loss, state)
            if repr(config) not in known:
                found.append((config, made))
            tick(1)
    return found


def new_study(present: ModelConfig, trials: int, seed: int) -> optuna.Study:
    """A study in memory that begins with neighbours of the present architecture."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=seed))
    for picks in list(neighbours(present, seed))[: round(NEIGHBOURS * trials)]:
        study.enqueue_trial(picks)
    return study


def neighbours(present: ModelConfig, seed: int) -> Iterator[dict[str, Any]]:
    """Picks that differ from the first choices in one place, in random order."""
    offered: dict[str, Sequence[Any]] = {}

    def first(name: str, choices: Sequence[Any]) -> Any:
        offered[name] = choices
        return name == "links" or choices[0]

    propose(first, present)
    moves = [(name, other) for name, choices in offered.items() for other in choices[1:] if name != "links"]
    random.Random(seed).shuffle(moves)
    for name, other in moves:
        picks = {each: choices[0] for each, choices in offered.items()}
        yield picks | {name: other, "links": name.startswith("link.")}


def keep(
    ws: Workspace, release: Release, before: ModelConfig, config: ModelConfig, present: Worth, best: Worth
) -> Artefact:
    """Note the architecture as what is proposed to go on with from the version."""
    digest = ws.blobs.put(json.dumps(asdict(config), sort_keys=True).encode())
    detail = {
        "changes": json.loads(json.dumps(changes(before, config))),
        "present": asdict(present),
        "best": asdict(best),
    }
    with ws.database.write() as session:
        return artefacts.put(session, release.version, ARCHITECTURE, digest, now=ws.clock(), detail=detail)


def told(
    release: Release,
    before: ModelConfig,
    config: ModelConfig,
    present: Worth,
    best: Worth,
    found: Sequence[tuple[ModelConfig, Worth | None]],
) -> str:
    """What a person reads of a search."""
    tried, slow = len(found), sum(made is None for _, made in found)
    differs = ", ".join(f"{name} {value}" for name, value in changes(before, config).items()) or "nothing"
    return (
        f"evolve      {tried} architectures around v{release.version}, {slow} too slow; the best changes {differs}: "
        f"loss {present.loss:.3f} → {best.loss:.3f} at {best.latency_share:.2f} of the time"
    )


def proposal_digest(session: Session, version: int) -> str:
    """The proposal that stands for a version; empty if there is none."""
    found = artefacts.newest(session, version, ARCHITECTURE)
    return "" if found is None else found.digest


def train_proposed(ws: Workspace, round_: Round) -> Round:
    """Train the architecture proposed for the round's base on every labelled sample, from the weights that the two
    share, and move the round to ``tuned``. Raises :class:`NothingToTrain` if there is no proposal.
    """
    assert round_.base_version is not None
    check_base(ws, round_)
    with ws.database.read() as session:
        digest = proposal_digest(session, round_.base_version)
        train, val = samples.labelled(session, split="train"), samples.labelled(session, split="val")
    if not digest:
        raise NothingToTrain(f"No architecture is proposed for v{round_.base_version}. Search with `omniloop evolve`.")
    parent = load_version(ws, round_.base_version)
    assert isinstance(parent, OmniModel)
    described = json.loads(ws.blobs.get(digest))
    described |= {name: tuple(described[name]) for name in ("modalities", "ignores")}
    model = child_of(parent, ModelConfig(**described), seed=ws.settings.loop.seed)
    config = ws.settings.train
    with epochs_shown(ws, "train", config.epochs) as on_epoch:
        report = fit(
            model,
            load_labelled(ws, train),
            load_labelled(ws, val),
            config,
            seed=ws.settings.loop.seed + round_.id,
            on_epoch=on_epoch,
            checkpoint_dir=training_folder(ws, round_, digest, train, val, config),
        )
    members = [RoundSample(sample_id=entry.sample.id, role="base") for entry in train]
    return store(ws, round_, model, report, members, base_digest=None)
