"""Two streams over tri-digits: one domain after the other, and two digits after two digits with the answers growing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from omni_model.data import tri_digits
from omni_model.data.splits import split_of
from omni_model.features import FeatureSet, encode_features, prepare_samples
from omni_model.protocol import LoopModel
from omni_model.sample import Sample, TaskSpec

Kind = Literal["domain", "class"]
KINDS: tuple[Kind, ...] = ("domain", "class")
DIGITS_A_STEP = 2


@dataclass(frozen=True, kw_only=True)
class Step:
    """What arrives at once."""

    name: str
    task: TaskSpec
    """The task with the answers known by then."""
    train: Sequence[Sample]
    val: Sequence[Sample]
    test: Sequence[Sample]


def stream(kind: Kind, seed: int, num_steps: int | None = None) -> list[Step]:
    """The stream of a seed; the splits are the same for every seed, the renderings are not."""
    rows = tri_digits.load(seed=seed)
    digits = tri_digits.TASK.answers
    steps = []
    if kind == "domain":
        for domain in tri_digits.DOMAINS:
            steps.append(_step(domain, tri_digits.TASK, [row for row in rows if row.domain == domain]))
    else:
        for start in range(0, len(digits), DIGITS_A_STEP):
            new = digits[start : start + DIGITS_A_STEP]
            task = TaskSpec(
                name=tri_digits.TASK.name,
                instructions=tri_digits.TASK.instructions,
                answers=digits[: start + DIGITS_A_STEP],
            )
            steps.append(_step("".join(new), task, [row for row in rows if row.answer in new]))
    return steps[:num_steps]


def _step(name: str, task: TaskSpec, rows: Sequence[Sample]) -> Step:
    parts: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    for row in rows:
        parts[split_of(row.item)].append(row)
    return Step(name=name, task=task, train=parts["train"], val=parts["val"], test=parts["test"])


class Store:
    """The rows of a stream after the model's fixed transform, computed once for all contenders of a seed."""

    def __init__(self, model: LoopModel, rows: Sequence[Sample]) -> None:
        self._features = prepare_samples(model, rows)
        self._place = {id_: row for row, id_ in enumerate(self._features.ids)}

    def encoded(self, model: LoopModel) -> Store:
        """The same rows encoded by a model whose encoders will stand still."""
        other = object.__new__(Store)
        other._features, other._place = encode_features(model, self._features, batch_rows=256), self._place
        return other

    def of(self, rows: Sequence[Sample]) -> FeatureSet:
        """The given rows, in that order."""
        return self._features.select([self._place[row.id] for row in rows])
