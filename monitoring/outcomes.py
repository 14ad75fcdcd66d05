"""The evidence of a validation: what two versions answered to the same samples, row by row.

`PairedOutcomes` holds everything that a comparison needs and nothing of the samples themselves, so it can be stored
with a decision and judged again under another threshold or list of metrics. N is the number of samples.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SCHEMA_VERSION = 1
UNANSWERED = -2
"""The answer of a row whose probabilities were not finite: never right, whatever argmax made of them."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Which two versions were measured, when, and on how complete a pairing."""

    old_version: int
    """The version in service when the comparison was made."""
    new_version: int
    """The candidate."""
    measured_at: datetime
    """UTC."""
    num_unpaired: int = 0
    """Samples that only one of the two answered; anything above 0 keeps the gate from accepting."""

    def __post_init__(self) -> None:
        if self.measured_at.tzinfo is None:
            raise ValueError(f"measured_at must carry a time zone, got {self.measured_at!r}. Use datetime.now(UTC).")


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """One version's side: columns `[N]` in the order of the samples."""

    answer: NDArray[np.int64]
    """Index of the answer in the common vocabulary, `UNANSWERED` where the probabilities were not finite."""
    followed: NDArray[np.bool_]
    """The unmasked answer lies in the instructed task's set."""
    confidence: Floats
    """Probability of the answer."""
    target_probability: Floats
    """Probability of the target; nan where there is no target."""
    brier: Floats
    """Squared distance of the probabilities to the target; nan where there is no target."""
    latency_s: Floats
    """Seconds to the answer; nan where it was not timed."""
    hits: Mapping[str, Floats] = field(default_factory=dict)
    """`x>y` to 1.0 where x retrieved its own y, 0.0 where not, nan where the sample lacks one of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PairedOutcomes:
    """Both sides, and what the samples were."""

    provenance: Provenance
    ids: NDArray[np.str_]
    items: NDArray[np.str_]
    """The unit of resampling: rows of one item (renderings of one thing) are not independent of each other."""
    tasks: NDArray[np.str_]
    domains: NDArray[np.str_]
    modalities: NDArray[np.str_]
    """The modalities present, sorted and joined by `+`."""
    target: NDArray[np.int64]
    """Index of the right answer in the common vocabulary; below 0 where nobody labelled the sample."""
    old: Answers
    new: Answers
    without: Mapping[str, tuple[Answers, Answers]] = field(default_factory=dict)
    """Modality to both sides' answers with that modality taken away (only the rows that had it and another count)."""

    def __post_init__(self) -> None:
        num_rows = len(self.ids)
        if len(np.unique(self.ids)) != num_rows:
            raise ValueError("ids holds some sample more than once. Compare each sample once.")
        for name, column in _columns(self).items():
            if column.shape != (num_rows,):
                raise ValueError(
                    f"Column {name} has shape {column.shape}, ids has {num_rows} rows. Give one entry a row."
                )

    def __len__(self) -> int:
        return len(self.ids)

    def to_bytes(self) -> bytes:
        """A compressed npz without pickle; equal outcomes give equal bytes. `from_bytes` restores it."""
        header = {
            "schema_version": SCHEMA_VERSION,
            "old_version": self.provenance.old_version,
            "new_version": self.provenance.new_version,
            "measured_at": self.provenance.measured_at.astimezone(UTC).isoformat(),
            "num_unpaired": self.provenance.num_unpaired,
        }
        buffer = io.BytesIO()
        columns: dict[str, Any] = {"header": np.array(json.dumps(header, sort_keys=True))} | _columns(self)
        np.savez_compressed(buffer, allow_pickle=False, **columns)
        return buffer.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> PairedOutcomes:
        """Restore what `to_bytes` wrote; `ValueError` for anything else."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                columns = {name: archive[name] for name in archive.files}
            header = json.loads(str(columns["header"]))
            if header["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"schema_version is {header['schema_version']}, this release reads {SCHEMA_VERSION}")
            return _restore(header, columns)
        except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"The stored outcomes cannot be read: {error}. Restore the blob from a backup or validate again."
            ) from error


_SIDE_COLUMNS = tuple(entry.name for entry in fields(Answers) if entry.name != "hits")
_SAMPLE_COLUMNS = ("ids", "items", "tasks", "domains", "modalities", "target")


def _columns(outcomes: PairedOutcomes) -> dict[str, NDArray[Any]]:
    """Every column under its path, e.g. `new/confidence`, `old/hits/audio>image`, `without/audio/new/answer`."""
    columns: dict[str, NDArray[Any]] = {name: getattr(outcomes, name) for name in _SAMPLE_COLUMNS}
    sides = {"old": outcomes.old, "new": outcomes.new}
    for modality, (old, new) in sorted(outcomes.without.items()):
        sides |= {f"without/{modality}/old": old, f"without/{modality}/new": new}
    for path, side in sides.items():
        columns |= {f"{path}/{name}": getattr(side, name) for name in _SIDE_COLUMNS}
        columns |= {f"{path}/hits/{pair}": hits_N for pair, hits_N in sorted(side.hits.items())}
    return columns


def _restore(header: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> PairedOutcomes:
    def side(path: str) -> Answers:
        prefix = f"{path}/hits/"
        hits = {name.removeprefix(prefix): column for name, column in columns.items() if name.startswith(prefix)}
        return Answers(**{name: columns[f"{path}/{name}"] for name in _SIDE_COLUMNS}, hits=hits)

    modalities = sorted({name.split("/")[1] for name in columns if name.startswith("without/")})
    return PairedOutcomes(
        provenance=Provenance(
            old_version=int(header["old_version"]),
            new_version=int(header["new_version"]),
            measured_at=datetime.fromisoformat(header["measured_at"]),
            num_unpaired=int(header["num_unpaired"]),
        ),
        **{name: columns[name] for name in _SAMPLE_COLUMNS},
        old=side("old"),
        new=side("new"),
        without={name: (side(f"without/{name}/old"), side(f"without/{name}/new")) for name in modalities},
    )
