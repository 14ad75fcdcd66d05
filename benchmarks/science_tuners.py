"""Ways of going on from a trained model when new rows arrive, all through the product's own training loop.

Each gets the same rows, epochs, augmentation, averaging of the weights and choice of the best epoch on validation rows.
What differs: which tensors move, whether earlier rows are replayed, and a further term of the loss.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, mse_loss
from torch.nn.utils import parametrize

from benchmarks.science_streams import Store
from omni_model.config import ElasticConfig
from omni_model.elastic import mixed, tune
from omni_model.epochs import Penalty, no_penalty, run_epochs
from omni_model.features import Batcher, FeatureSet, concatenate
from omni_model.freeze import is_under, only_moving
from omni_model.losses import loss_parts
from omni_model.model import OmniModel
from omni_model.protocol import Batch, Output
from omni_model.sample import Sample

EVERYTHING = ("encoders", "layers")
HEAD = ("layers.head.answers",)
TEMPERATURE = 2.0
FISHER_ROWS = 64


@dataclass(frozen=True)
class Choice:
    """One cell of a contender's grid."""

    learning_rate: float
    strength: float = 0.0
    """What else the contender has: share of replay, weight of its penalty, or rank."""
    replay: float | None = None
    """Share of replay where `strength` is something else; None for the contender's usual one."""


class Tuner:
    """A contender on its way through one stream. The base class is naive fine-tuning of everything."""

    moving: tuple[str, ...] = EVERYTHING
    replays = False

    def __init__(
        self, model: OmniModel, config: ElasticConfig, choice: Choice, memory: Sequence[Sample], store: Store
    ) -> None:
        self.model, self.config, self.choice = model, config, choice
        self.memory = list(memory)
        self.moved = 0
        self.samples_seen = 0
        frozen = not is_under("encoders", self.moving)
        self.store = store.encoded(model) if frozen else store
        self.start()

    def start(self) -> None:
        """What is remembered of the model that the stream begins with."""

    def features(self, rows: Sequence[Sample]) -> FeatureSet:
        """Encoded once where the encoders stand still."""
        return self.store.of(rows)

    def share(self) -> float:
        """Share of each batch that is replayed."""
        return 0.0

    def learn(self, new: Sequence[Sample], val: Sequence[Sample], seed: int) -> None:
        """One step of the stream."""
        replayed = self.memory if self.replays else []
        pools = [self.features(new), self.features(replayed)]
        train = Batcher(self.model, concatenate(pools))
        places = torch.split(torch.arange(len(train.features)), [len(pool) for pool in pools])
        config = replace(self.config, learning_rate=self.choice.learning_rate)
        shares = [self.share() if replayed else 0.0]
        penalty = self.penalty(train)
        with only_moving(self.model, self.moving):
            report = run_epochs(
                self.model,
                train,
                lambda _, rng: mixed(list(places), shares, config.batch_rows, rng),
                Batcher(self.model, self.features(val)),
                config,
                moving=self.moving,
                seed=seed,
                penalty=penalty,
            )
        self.moved, self.samples_seen = report.trained_parameters, self.samples_seen + report.samples_seen
        self.memory = [*self.memory, *new]
        self.after(train, len(new))

    def penalty(self, train: Batcher) -> Penalty:
        """The further term of the loss."""
        return no_penalty

    def after(self, train: Batcher, num_new: int) -> None:
        """What is remembered of a step."""

    def grow(self, task: Any) -> None:
        """New answers join the head."""
        if task.answers != self.model.tasks[0].answers:
            self.model.add_task(task)


class Elastic(Tuner):
    """The product's own: the interaction layers move, earlier rows are replayed."""

    moving = ("layers",)
    replays = True

    def learn(self, new: Sequence[Sample], val: Sequence[Sample], seed: int) -> None:
        config = replace(
            self.config, learning_rate=self.choice.learning_rate, replay_share=self.choice.strength, own_share=0.0
        )
        sets = (self.features(new), self.features(self.memory), self.features(val))
        report = tune(self.model, *sets, config, seed=seed)
        self.moved, self.samples_seen = report.trained_parameters, self.samples_seen + report.samples_seen
        self.memory = [*self.memory, *new]


class Replay(Tuner):
    """Experience replay: everything moves (Chaudhry et al. 2019)."""

    replays = True

    def share(self) -> float:
        return self.choice.strength


class Probe(Replay):
    """Only the last linear layer moves; with the same replay as the others."""

    moving = HEAD


class Lora(Tuner):
    """Low-rank updates of every linear map of the interaction layers (Hu et al. 2022) and a free answer layer."""

    moving: tuple[str, ...] = ()
    replays = True

    def share(self) -> float:
        return 0.25 if self.choice.replay is None else self.choice.replay

    def learn(self, new: Sequence[Sample], val: Sequence[Sample], seed: int) -> None:
        if not self.moving:
            self.moving = (*HEAD, *add_lora(self.model, int(self.choice.strength)))
        super().learn(new, val, seed)


class Ewc(Tuner):
    """Elastic weight consolidation (Kirkpatrick et al. 2017), the Fisher information summed over the steps."""

    def start(self) -> None:
        self.fisher: dict[str, Tensor] = {}
        self.anchor: dict[str, Tensor] = {}
        self.after(Batcher(self.model, self.features(self.memory)), len(self.memory))

    def penalty(self, train: Batcher) -> Penalty:
        parameters = dict(self.model.named_parameters())

        def weigh(output: Output, batch: Batch, indices: Tensor) -> Tensor:
            terms = [
                (self.fisher[name] * (parameters[name][: len(anchor)] - anchor).square()).sum()
                for name, anchor in self.anchor.items()
            ]
            return (
                0.5 * self.choice.strength * torch.stack(terms).sum() if terms else no_penalty(output, batch, indices)
            )

        return weigh

    def after(self, train: Batcher, num_new: int) -> None:
        for row in range(min(num_new, FISHER_ROWS)):
            batch = train(torch.tensor([row]))
            self.model.zero_grad(set_to_none=True)
            torch.autograd.backward(loss_parts(self.model(batch), batch)["cross"])
            for name, parameter in self.model.named_parameters():
                if parameter.grad is not None:
                    square = parameter.grad.detach().square() / min(num_new, FISHER_ROWS)
                    known = self.fisher.get(name)
                    if known is not None:
                        square[: len(known)] += known
                    self.fisher[name] = square
        self.anchor = {name: p.detach().clone() for name, p in self.model.named_parameters() if name in self.fisher}
        self.model.zero_grad(set_to_none=True)


class Lwf(Tuner):
    """Learning without forgetting (Li and Hoiem 2016): the model of before teaches its answers on the new rows."""

    def penalty(self, train: Batcher) -> Penalty:
        teacher = copy.deepcopy(self.model).eval()
        num = self.known

        def distil(output: Output, batch: Batch, indices: Tensor) -> Tensor:
            with torch.no_grad():
                told = log_softmax(teacher(batch).logits[:, :num] / TEMPERATURE, dim=1)
            said = log_softmax(output.logits[:, :num] / TEMPERATURE, dim=1)
            return self.choice.strength * TEMPERATURE**2 * kl_div(said, told, log_target=True, reduction="batchmean")

        return distil

    def start(self) -> None:
        self.known = len(self.model.answers)

    def after(self, train: Batcher, num_new: int) -> None:
        self.known = len(self.model.answers)


class DerPlusPlus(Replay):
    """Dark experience replay with labels (Buzzega et al. 2020): replayed rows keep the logits of their own time."""

    def start(self) -> None:
        self.dark: dict[str, Tensor] = {}
        self.after(Batcher(self.model, self.features(self.memory)), len(self.memory))

    def share(self) -> float:
        return 0.5 if self.choice.replay is None else self.choice.replay

    def penalty(self, train: Batcher) -> Penalty:
        kept = torch.full((len(train.features), len(self.model.answers)), math.nan)
        for at, id_ in enumerate(train.features.ids):
            if id_ in self.dark:
                kept[at, : len(self.dark[id_])] = self.dark[id_]

        def recall(output: Output, batch: Batch, indices: Tensor) -> Tensor:
            wanted = kept[indices]
            there = ~wanted.isnan()
            if not bool(there.any()):
                return no_penalty(output, batch, indices)
            return self.choice.strength * mse_loss(output.logits[there], wanted[there])

        return recall

    @torch.no_grad()
    def after(self, train: Batcher, num_new: int) -> None:
        self.model.eval()
        for rows in torch.split(torch.arange(num_new), 256):
            logits = self.model(train(rows)).logits
            self.dark |= {train.features.ids[int(row)]: line.clone() for row, line in zip(rows, logits, strict=True)}


class LowRank(nn.Module):
    """A weight plus a product of two thin matrices; it starts as the weight itself."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.fall = nn.Parameter(torch.randn(rank, weight.shape[1]) / math.sqrt(weight.shape[1]))
        self.rise = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.rise @ self.fall


def add_lora(model: OmniModel, rank: int) -> tuple[str, ...]:
    """Put a low-rank update on each linear map of the interaction layers but the answers; returns what moves."""
    paths = []
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and is_under(name, ("layers",)) and not is_under(name, HEAD):
            parametrize.register_parametrization(module, "weight", LowRank(module.weight, rank))
            paths.append(f"{name}.parametrizations.weight.0")
    return tuple(paths)
