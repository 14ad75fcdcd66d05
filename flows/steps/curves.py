"""How a training goes, for whoever watches it: the losses by epoch as measurements, a few writes a second at most.

The whole history is kept with the round when the training is done; these rows show it while it runs. Writing them is
also where a training learns that its round was cancelled.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from db.records import NewMeasurement, Round
from db.repository import measurements, round_ends
from flows.workspace import Workspace
from omni_model.epochs import EpochStats

EVERY_S = 0.3
"""Seconds between two writes."""
CURVES = {"training_loss": "train_loss", "validation_loss": "val_loss", "validation_accuracy": "val_accuracy"}
"""The measurements, and the figures of an epoch that they are."""


@dataclass
class Curves:
    """What a training has told and is not written yet."""

    ws: Workspace
    round: Round
    training: str
    """Tells one training of a round from another: labels that change while it is dead start it anew."""
    monotonic: Callable[[], float] = time.monotonic
    _waiting: list[EpochStats] = field(default_factory=list)
    _written_at: float = 0.0

    def tell(self, stats: EpochStats) -> None:
        """An epoch is done. ``db.errors.IllegalMove`` if its round has ended meanwhile."""
        self._waiting.append(stats)
        if stats.epoch >= stats.epochs or self.monotonic() - self._written_at >= EVERY_S:
            self.write()

    def write(self) -> None:
        """Write what waits; nothing for nothing."""
        if not self._waiting:
            return
        rows = [row for stats in self._waiting for row in self._rows(stats)]
        with self.ws.database.write() as session:
            round_ends.check_open(session, self.round.id)
            measurements.add(session, rows, now=self.ws.clock())
        self._waiting, self._written_at = [], self.monotonic()

    def _rows(self, stats: EpochStats) -> list[NewMeasurement]:
        detail = {"epoch": stats.epoch, "epochs": stats.epochs, "training": self.training}
        return [
            NewMeasurement(
                metric=metric, value=getattr(stats, name), slice=f"round={self.round.id}", num_samples=0, detail=detail
            )
            for metric, name in CURVES.items()
        ]
