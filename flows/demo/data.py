"""What arrives in the story, and when: tri-digits as manifests, with the answers kept back until somebody labels."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from omni_model.data import tri_digits
from omni_model.data.splits import split_of
from omni_model.data.writing import write_manifest
from omni_model.sample import Sample

OPERATOR = "demo operator"
"""Who acts as a person in the story's audit trail."""
ORIGIN = "dataset"
"""Labels of the story come from the data set's own answers and are marked so."""


@dataclass
class World:
    """The data set, and what the world knows that the service does not: the right answers."""

    samples: Mapping[str, list[Sample]]
    """By domain."""
    answers: dict[str, str] = field(default_factory=dict)
    """Right answer by sample id."""

    @classmethod
    def create(cls) -> "World":
        """All six domains of tri-digits."""
        by_domain = {domain: tri_digits.load([domain]) for domain in tri_digits.DOMAINS}
        world = cls(samples=by_domain)
        for rows in by_domain.values():
            world.learn(rows)
        return world

    def learn(self, rows: Iterable[Sample]) -> None:
        """Remember the right answers of ``rows``."""
        self.answers |= {sample.id: sample.answer for sample in rows if sample.answer is not None}

    def split(self, domain: str, split: str) -> list[Sample]:
        """The samples of one domain that belong to a split."""
        return [sample for sample in self.samples[domain] if split_of(sample.item) == split]

    def live(self, domains: Iterable[str], num: int, *, seed: int) -> list[Sample]:
        """``num`` samples of fresh live traffic, spread evenly over ``domains``; they come without answers."""
        names = list(domains)
        streams = [tri_digits.live(name, num // len(names), seed=seed) for name in names]
        rows = [sample for pack in zip(*streams, strict=True) for sample in pack]
        self.learn(rows)
        return [replace(sample, answer=None) for sample in rows]


def arrival(world: World, domains: Iterable[str], folder: Path, *, with_answers: bool) -> Path:
    """A manifest with the training and validation samples of ``domains``; the test split never arrives."""

    def rows() -> Iterator[Sample]:
        for domain in domains:
            for split in ("train", "val"):
                for sample in world.split(domain, split):
                    yield sample if with_answers else replace(sample, answer=None)

    return write_manifest(rows(), folder, tasks=[tri_digits.TASK])


def shifted(answer: str) -> str:
    """What a mistaken import makes of a label: each digit becomes the next one."""
    return str((int(answer) + 1) % 10)
