"""The search space of architectures (S10), and what one of them is worth: its loss after a short tuning, and its time.

Which modalities are read, which layers let them meet, who attends to whom in each and how strongly, and how wide the
rest is. Who picks is not decided here: any optimiser that picks one of some choices by name will do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from omni_model.config import ElasticConfig, ModelConfig, Scale
from omni_model.elastic import tune
from omni_model.evaluate import predict
from omni_model.evolve_config import EvolveConfig
from omni_model.features import FeatureSet
from omni_model.inherit import child_of, tokens_for
from omni_model.model import OmniModel
from omni_model.protocol import INSTRUCTION
from omni_model.sample import Sample

T = TypeVar("T", bool, int, float, str)
STRENGTHS = (1.0, 0.0, 0.5, 2.0)
"""Of a link; the first leaves it as it is."""
MOST_LAYERS = 2


class Pick(Protocol):
    """Picks one of the choices for the name given, in one proposal always the same."""

    def __call__(self, name: str, choices: Sequence[T], /) -> T: ...


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What an architecture was found to be worth."""

    loss: float
    """Lowest validation loss of its short tuning."""
    accuracy: float
    """Validation accuracy after it."""
    latency_share: float
    """Time of a sample alone over that of the present model."""
    samples_seen: int
    parameters: int


class TooSlow(Exception):
    """An architecture that takes longer than it may; it was not trained."""

    def __init__(self, latency_share: float) -> None:
        super().__init__(f"It takes {latency_share:.2f} of the present model's time.")
        self.latency_share = latency_share


def propose(pick: Pick, parent: ModelConfig) -> ModelConfig:
    """An architecture out of the space around the parent's; a pick that leaves no modality leaves them all."""
    may_drop = parent.attention != "seed" and len(parent.modalities) > 1
    kept = tuple(name for name in parent.modalities if not may_drop or pick(f"use.{name}", (True, False)))
    modalities = kept or parent.modalities
    layers = pick("layers", tuple(dict.fromkeys((parent.layers, *range(1, MOST_LAYERS + 1)))))
    return replace(
        parent,
        modalities=modalities,
        ignores=(*parent.ignores, *(name for name in parent.modalities if name not in modalities)),
        layers=layers,
        within_layers=pick("within_layers", tuple(dict.fromkeys((parent.within_layers, 0, 1, 2)))),
        ffn_width=pick("ffn_width", tuple(dict.fromkeys((parent.ffn_width, *(parent.width * n for n in (1, 2, 4)))))),
        segments=pick("segments", tuple(dict.fromkeys((parent.segments, 4, 8, 12)))),
        instruction_tokens=pick("instruction_tokens", tuple(dict.fromkeys((parent.instruction_tokens, 1, 2, 4)))),
        scale=parent.scale if pick("scale.kept", (True, False)) else other_scale(parent.scale),
        links=_links(pick, modalities, layers) if parent.attention == "dcma" and parent.strength != "none" else {},
        encoder_options={n: dict(v) for n, v in parent.encoder_options.items() if n in {*modalities, "text"}},
    )


def other_scale(scale: Scale) -> Scale:
    """The other of the two.

    >>> other_scale("head")
    'article'
    """
    return "article" if scale == "head" else "head"


def _links(pick: Pick, modalities: Sequence[str], layers: int) -> dict[str, float]:
    """Strengths of the links between different groups, those that are 1 left out; or all as they are."""
    if not pick("links", (False, True)):
        return {}
    groups = (*modalities, INSTRUCTION)
    names = [f"{layer}.{one}>{other}" for layer in range(layers) for one in groups for other in groups if one != other]
    picked = {name: pick(f"link.{name}", STRENGTHS) for name in names}
    return {name: strength for name, strength in picked.items() if strength != 1.0}


def changes(parent: ModelConfig, config: ModelConfig) -> dict[str, object]:
    """What differs from the parent, by field.

    >>> changes(ModelConfig(), ModelConfig(layers=2))
    {'layers': 2}
    """
    fields = ("modalities", "layers", "within_layers", "ffn_width", "segments", "instruction_tokens", "scale", "links")
    return {name: getattr(config, name) for name in fields if getattr(config, name) != getattr(parent, name)}


def worth(
    parent: OmniModel,
    config: ModelConfig,
    train: FeatureSet,
    val: FeatureSet,
    timed: Sequence[Sample],
    evolve: EvolveConfig,
    elastic: ElasticConfig,
    *,
    seed: int,
    clock: Callable[[], float] = time.process_time,
) -> Worth:
    """Tune a child of the parent shortly and say what it is worth. `train` and `val` are the parent's tokens, labelled.

    Raises :class:`TooSlow` before any training.
    """
    child = child_of(parent, config, seed=seed)
    share = latency_share(child, parent, timed, evolve, clock=clock)
    if share > evolve.latency_share and config != parent.config:
        raise TooSlow(share)
    rows, held_out = tokens_for(child, parent, train), tokens_for(child, parent, val)
    short = replace(elastic, epochs=evolve.epochs, own_share=0.0, replay_share=0.0, mode="interaction", also=())
    report = tune(child, rows, rows.select([]), held_out, short, seed=seed)
    return Worth(
        loss=report.best_val,
        accuracy=predict(child, held_out, batch_rows=256).accuracy,
        latency_share=share,
        samples_seen=report.samples_seen,
        parameters=sum(parameter.numel() for parameter in child.parameters()),
    )


def latency_share(
    child: OmniModel,
    parent: OmniModel,
    timed: Sequence[Sample],
    evolve: EvolveConfig,
    *,
    clock: Callable[[], float] = time.process_time,
) -> float:
    """Seconds that the child takes for some samples one by one, over those of the parent, taken in turns.

    Samples are prepared, encoded and answered; the child is shown the modalities that it has. Each counts with its
    least of a few times.
    """
    sums = {"child": 0.0, "parent": 0.0}
    for sample in timed[: evolve.latency_rows]:
        inputs = {name: value for name, value in sample.inputs.items() if name in child.config.modalities}
        asked = {"child": (child, replace(sample, inputs=inputs)), "parent": (parent, sample)}
        least = dict.fromkeys(asked, float("inf"))
        for _ in range(evolve.latency_repeats):
            for who, (model, row) in asked.items():
                began = clock()
                predict(model, [row])
                least[who] = min(least[who], clock() - began)
        for who, seconds in least.items():
            sums[who] += seconds
    return sums["child"] / sums["parent"] if sums["parent"] else 1.0
