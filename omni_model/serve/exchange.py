"""What goes into the engine and what comes out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from omni_model.msn.choice import Budget
from omni_model.serve.budget import UNBOUNDED, Allowance
from omni_model.serve.cache import Key


@dataclass(frozen=True, kw_only=True)
class Request:
    """One thing to answer, its values still encoded."""

    id: str
    """Becomes the prediction's id."""
    task: str
    instruction: str = ""
    """Empty: the task's first wording."""
    content: Mapping[str, bytes] = field(default_factory=dict)
    """Modality to encoded bytes. Without any, the model answers the instruction alone."""
    budget: Budget | None = None
    """What the answer may cost; None: use everything."""
    key: str = ""
    """Whose requests stay on one side of a canary; empty: the id, so that each request is on its own."""


class Later(NamedTuple):
    """What comes next for a request that is answered in stages."""

    threshold: float
    """Calibrated probability from which on the answer so far stands."""
    names: tuple[str, ...]
    """Modalities that are decoded and encoded else."""


@dataclass(kw_only=True, slots=True)
class Prepared:
    """A request on its way to a batch: what is cached is named by its key alone."""

    request: Request
    version: int
    """The version that it was prepared for."""
    space: str
    """Identity of the encoders that it was prepared for."""
    keys: Mapping[str, Key]
    """By block: the modalities used so far, and the instruction."""
    values: Mapping[Key, Tensor]
    """[T, ...] of those that were not in the cache."""
    ignored: Mapping[str, str]
    """Modality to the reason why it was not used."""
    allowance: Allowance = UNBOUNDED
    """What the answer may cost, the load taken into account."""
    later: tuple[Later, ...] = ()
    """Stages to come, each only if the answer so far is not sure enough; empty: everything is here."""
    queued_s: float = 0.0
    """Time it waited before it was decoded."""
    decode_s: float = 0.0
    ready_at: float = 0.0
    """When it was ready, by the engine's clock."""
    num_tokens: int = 1
    """About how many it will have."""
    target: int = 0
    """The version on trial that shall answer; 0: the one in service, whichever it is by then."""
    mirror: int = 0
    """The version that shall answer too, after it was answered; 0: none."""
    told: Answer | None = None
    """The answer given, if this is for the second one."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Where the time of one answer went, in seconds. Encoding and fusing are those of its whole batch.

    In stages each part is the sum over the stages it went through, and waiting for others' stages is queueing.
    """

    queue_s: float
    decode_s: float
    encode_s: float
    fuse_s: float

    @property
    def total_s(self) -> float:
        """All parts together."""
        return self.queue_s + self.decode_s + self.encode_s + self.fuse_s


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a version said to a request."""

    id: str
    version: int
    generation: int
    task: str
    instruction: str
    """As the model was asked it."""
    answer: str
    probabilities: Mapping[str, float]
    """Calibrated, by answer of the task; they sum to 1."""
    received: tuple[str, ...]
    used: tuple[str, ...]
    ignored: Mapping[str, str]
    latency: Latency
    budget: float | None = None
    """Share of the full cost that the answer was allowed, 0-1, the load taken into account; None: not bounded."""

    @property
    def probability(self) -> float:
        """Calibrated probability of the answer."""
        return self.probabilities[self.answer]

    @property
    def entropy(self) -> float:
        """Entropy of the calibrated probabilities, in nats."""
        return entropy_of(self.probabilities.values())


def entropy_of(probabilities: Iterable[float]) -> float:
    """Entropy in nats; 0 log 0 is 0.

    >>> round(entropy_of([0.5, 0.5]), 4), entropy_of([1.0, 0.0])
    (0.6931, 0.0)
    """
    return sum(-p * math.log(p) for p in probabilities if p > 0) or 0.0
