"""Distillation: a light model learns to say what the full one says, which sees every modality of the sample.

The light model's encoders stay as they are, so their outputs are computed once; the layers across modalities, pooling
and head move. Deterministic for a seed on one machine.

Shapes: N rows, B batch, A answers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from omni_model.augment import augment
from omni_model.calibrate import calibrate
from omni_model.config import TrainConfig
from omni_model.distil_config import DistilConfig
from omni_model.epochs import epoch_rng, shuffled
from omni_model.evaluate import predict
from omni_model.features import Batcher, encode_samples
from omni_model.freeze import train_mode
from omni_model.protocol import Batch, LoopModel
from omni_model.sample import Sample

__all__ = ["DistilConfig", "Taught", "distil", "visible"]

NOT_ALLOWED = -1e9
"""Logit of an answer that is none of the task's."""


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What a distillation did."""

    num_rows: int
    """Samples with something that the light model can see."""
    loss_before: float
    """Mean divergence from the full model's answers on the validation samples, in nats; NaN without any."""
    loss_after: float
    best_epoch: int
    """The epoch whose weights were kept; 0 if teaching made it no better."""
    seconds: float


def visible(model: LoopModel, samples: Sequence[Sample]) -> list[Sample]:
    """The samples as this model can be shown them; those without any modality that it takes are left out."""
    takes = model.describe().get("modalities")
    if takes is None:
        return list(samples)
    shown = [replace(row, inputs={key: row.inputs[key] for key in row.inputs if key in takes}) for row in samples]
    return [row for row in shown if row.inputs]


def distil(
    student: LoopModel,
    teacher: LoopModel,
    train: Sequence[Sample],
    val: Sequence[Sample],
    config: DistilConfig = DistilConfig(),  # noqa: B008
) -> Taught:
    """Teach `student` what `teacher` says to the same samples, labelled or not; changes `student`.

    The weights of the epoch that is nearest to the teacher on `val` are kept, those of the start included; without
    validation samples the last ones are. The temperature is fitted on the labels of `val`.
    """
    began = time.perf_counter()
    rows, held_out = _Lesson(student, teacher, train), _Lesson(student, teacher, val)
    before = best = held_out.loss(student)
    best_epoch, kept = 0, _weights(student)
    learned = [p for name in student.interaction for p in student.get_submodule(name).parameters()]
    optimizer = torch.optim.AdamW(learned, lr=config.learning_rate, weight_decay=0.01)
    for epoch in range(1, config.epochs + 1 if len(rows) else 1):
        with epoch_rng(config.seed, epoch, student.device) as rng:
            rows.teach(student, optimizer, config, rng, share_done=(epoch - 1) / config.epochs)
        loss = held_out.loss(student)
        if not loss >= best:  # NaN without validation samples: the last epoch counts
            best, best_epoch, kept = loss, epoch, _weights(student)
    student.load_state_dict(kept)
    student.eval()
    if len(held_out):
        calibrate(student, held_out.batches)
    return Taught(
        num_rows=len(rows),
        loss_before=before,
        loss_after=best,
        best_epoch=best_epoch,
        seconds=time.perf_counter() - began,
    )


class _Lesson:
    """Samples as the student sees them, encoded once, with what the teacher says to each."""

    def __init__(self, student: LoopModel, teacher: LoopModel, samples: Sequence[Sample]) -> None:
        shown = visible(student, samples)
        ids = {row.id for row in shown}
        said = predict(teacher, [row for row in visible(teacher, samples) if row.id in ids])
        place = {answer: index for index, answer in enumerate(said.answers)}
        columns = [place[answer] for answer in student.answers]
        self.said_NA = torch.from_numpy(said.probs[:, columns]) if len(shown) else torch.zeros(0, len(columns))
        if shown:
            self.batches = Batcher(student, encode_samples(student, shown))
        self.num_rows = len(shown)

    def __len__(self) -> int:
        return self.num_rows

    def teach(
        self,
        student: LoopModel,
        optimizer: torch.optim.Optimizer,
        config: DistilConfig,
        rng: torch.Generator,
        *,
        share_done: float,
    ) -> None:
        """One pass over the rows."""
        train_mode(student, student.interaction)
        hidden = TrainConfig(modality_dropout=config.hide, token_dropout=config.hide, feature_noise=config.hide)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1 + math.cos(math.pi * share_done))
        for indices in shuffled(self.num_rows, config.batch_rows, rng):
            batch = augment(self.batches(indices), hidden, rng)
            loss = divergence(student, batch, self.said_NA[indices]).mean()
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
            optimizer.step()
        student.eval()

    @torch.no_grad()
    def loss(self, student: LoopModel) -> float:
        """Mean divergence from the teacher; NaN without rows."""
        if not self.num_rows:
            return math.nan
        student.eval()
        parts = [
            divergence(student, self.batches(indices), self.said_NA[indices])
            for indices in torch.split(torch.arange(self.num_rows), 256)
        ]
        return float(torch.cat(parts).mean())


def divergence(student: LoopModel, batch: Batch, said_BA: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the student's answers from what was said, [B], in nats, within each row's task."""
    allowed_BA = student.answer_masks().to(batch.task.device)[batch.task]
    logits_BA = student(batch).logits / student.temperature_of(batch)
    log_BA = log_softmax(logits_BA.masked_fill(~allowed_BA, NOT_ALLOWED), dim=1)
    said_BA = said_BA.to(log_BA.device)
    entropy_B = torch.xlogy(said_BA, said_BA).sum(dim=1)
    return entropy_B - (said_BA * log_BA * allowed_BA).sum(dim=1)


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
