"""What waits in the spool, and what can go wrong with it.

SpoolError
├── UnknownPrediction  nobody here gave that answer, it is too long ago, or it is gone
└── OtherFeedback      other feedback was given before
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.errors import LoopError


class SpoolError(LoopError):
    """The spool cannot take this. The message says why and what to do."""


class UnknownPrediction(SpoolError):
    """Nobody here gave that answer, or it is long ago."""


class OtherFeedback(SpoolError):
    """Other feedback was given before."""


@dataclass(frozen=True, kw_only=True)
class Spooled:
    """An answer that waits."""

    id: str
    body: Mapping[str, Any]
    """What the cloud is told, inputs left out."""
    content: Mapping[str, bytes] = field(default_factory=dict)
    """Modality to encoded bytes."""


@dataclass(frozen=True, kw_only=True)
class GivenFeedback:
    """Feedback that waits."""

    prediction: str
    answer: str
    who: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is sent at once: answers, and the feedback that can go with them."""

    predictions: tuple[Spooled, ...]
    feedback: tuple[GivenFeedback, ...]

    def __len__(self) -> int:
        return len(self.predictions) + len(self.feedback)


@dataclass(frozen=True, kw_only=True)
class SpoolCounts:
    """What waits, and what became of the rest since the spool was made."""

    waiting: int
    waiting_feedback: int
    waiting_bytes: int
    dropped: int
    refused: int
    synced: int
