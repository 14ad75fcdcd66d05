"""What answers to samples that are asked again say: retrieval, following, balance, and drift from a reference."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from monitoring.measures.alignment import alignment
from monitoring.measures.balance import modality_balance
from monitoring.measures.descriptors import describe
from monitoring.measures.drift import Shift, descriptor_shift, embedding_shift
from monitoring.measures.window import ALL, Number, share_spread

Floats = NDArray[np.float64]
RESAMPLES = 100


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Embeddings and descriptors of a set of samples, by modality."""

    embeddings: Mapping[str, Floats]
    """`[N, D]` each; rows of samples that lack the modality are left out."""
    descriptors: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)

    @staticmethod
    def of(embeddings: Mapping[str, Floats], inputs: Sequence[Mapping[str, Any]], *, rate_hz: float) -> Reference:
        """The reference that these samples are."""
        told: dict[str, dict[str, list[float]]] = {}
        for values in inputs:
            for modality, value in values.items():
                for name, number in describe(modality, value, rate_hz=rate_hz).items():
                    told.setdefault(modality, {}).setdefault(name, []).append(number)
        there = {name: value[np.isfinite(value).all(axis=1)] for name, value in embeddings.items()}
        return Reference(embeddings=there, descriptors=told)

    def to_bytes(self) -> bytes:
        """A compressed npz without pickle; `from_bytes` restores it."""
        arrays: dict[str, Any] = {f"e/{name}": value.astype(np.float32) for name, value in self.embeddings.items()}
        for modality, told in self.descriptors.items():
            arrays |= {f"d/{modality}/{name}": np.asarray(values) for name, values in told.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> Reference:
        """What `to_bytes` wrote."""
        embeddings: dict[str, Floats] = {}
        told: dict[str, dict[str, list[float]]] = {}
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            for key in arrays.files:
                kind, modality, *name = key.split("/")
                if kind == "e":
                    embeddings[modality] = arrays[key].astype(np.float64)
                else:
                    told.setdefault(modality, {})[name[0]] = arrays[key].tolist()
        return Reference(embeddings=embeddings, descriptors=told)


def follow_number(followed: Sequence[bool]) -> Number:
    """Share of the answers that lay in the instructed task's set before anything was masked.

    >>> follow_number([True, True, True, False]).value
    0.75
    """
    if not followed:
        return Number(metric="instruction_following", slice=ALL, value=None, num_samples=0)
    value, spread = share_spread(np.asarray(followed, dtype=np.float64))
    return Number(metric="instruction_following", slice=ALL, value=value, num_samples=len(followed), spread=spread)


def presence_numbers(modalities: Sequence[Collection[str]], expected: Collection[str] = ()) -> list[Number]:
    """Share of the samples that have each modality, of those that any sample has and those expected; empty without any.

    >>> [(number.slice, number.value) for number in presence_numbers([{"image", "text"}, {"text"}], ["audio"])]
    [('modality=audio', 0.0), ('modality=image', 0.5), ('modality=text', 1.0)]
    """
    found = []
    for name in sorted({name for given in modalities for name in given} | set(expected)) if modalities else ():
        value, spread = share_spread(np.array([name in given for given in modalities], dtype=np.float64))
        number = Number(metric="modality_presence", slice=f"modality={name}", value=value, num_samples=len(modalities))
        found.append(replace(number, spread=spread))
    return found


def alignment_numbers(embeddings: Mapping[str, Floats], gallery: int) -> list[Number]:
    """Alignment error over all pairs and by pair, as the mean over galleries of `gallery` rows each.

    What is left over of the rows is not a gallery. Empty where no sample has two modalities.
    """
    num_rows = min((len(value) for value in embeddings.values()), default=0)
    errors: dict[str, list[float]] = {}
    pairs = 0
    for start in range(0, num_rows - gallery + 1, max(gallery, 1)):
        found = alignment({name: value[start : start + gallery] for name, value in embeddings.items()})
        if found.error is None:
            continue
        pairs += sum(pair.num_pairs for pair in found.pairs)
        errors.setdefault(ALL, []).append(found.error)
        for pair in found.pairs:
            errors.setdefault(f"pair={pair.x}+{pair.y}", []).append(pair.error)
    return [
        Number(
            metric="alignment_error",
            slice=slice_,
            value=float(np.mean(values)),
            num_samples=gallery * len(values),
            spread=_error_spread(values, gallery),
            detail={"gallery": gallery, "pairs": pairs},
        )
        for slice_, values in errors.items()
    ]


def balance_number(hits: Mapping[frozenset[str], Floats], names: Sequence[str], *, seed: int = 0) -> Number:
    """Balance from who was right with which modalities; its spread from 100 resamples of the rows.

    `hits` has 0 or 1 a row for every subset of `names`. None where no modality helps.

    >>> right, wrong = np.ones(20), np.zeros(20)
    >>> hits = {frozenset(): wrong, frozenset("a"): right, frozenset("b"): wrong, frozenset("ab"): right}
    >>> balance_number(hits, ["a", "b"]).value
    0.0
    """
    num = len(next(iter(hits.values())))
    whole = modality_balance(lambda subset: float(hits[subset].mean()), names)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, num, num)
        again = modality_balance(lambda subset, rows=rows: float(hits[subset][rows].mean()), names)  # type: ignore[misc]
        drawn.append(again.balance)
    known = [value for value in drawn if value is not None]
    return Number(
        metric="modality_balance",
        slice=ALL,
        value=None if whole.balance is None else abs(whole.balance),
        num_samples=num,
        spread=float(np.std(known)) if len(known) > RESAMPLES // 2 else None,
        detail={"shapley": whole.shapley, "fused": whole.fused, "leave_one_out": whole.leave_one_out_falls},
    )


def drift_numbers(reference: Reference, current: Reference) -> list[Number]:
    """How far each modality has moved from its reference; None for one with too few rows."""
    found = []
    for name in sorted(reference.embeddings.keys() & current.embeddings.keys()):
        shift = embedding_shift(reference.embeddings[name], current.embeddings[name])
        found.append(_of_shift("modality_drift", name, shift))
    for name in sorted(reference.descriptors.keys() & current.descriptors.keys()):
        shift = descriptor_shift(reference.descriptors[name], current.descriptors[name])
        found.append(_of_shift("descriptor_drift", name, shift))
    return found


def subsets_of(names: Sequence[str]) -> list[frozenset[str]]:
    """Every subset, the empty one first.

    >>> [sorted(subset) for subset in subsets_of(["a", "b"])]
    [[], ['a'], ['b'], ['a', 'b']]
    """
    return [frozenset(chosen) for size in range(len(names) + 1) for chosen in combinations(names, size)]


def _of_shift(metric: str, modality: str, shift: Shift) -> Number:
    detail = {"descriptor": shift.feature} if shift.feature else {}
    return Number(
        metric=metric,
        slice=f"modality={modality}",
        value=shift.value,
        num_samples=shift.num_rows,
        spread=shift.spread,
        detail=detail,
    )


def _error_spread(errors: Sequence[float], gallery: int) -> float:
    """Of the mean error: that between the galleries if there are several, at least that of independent hits."""
    mean, num = float(np.mean(errors)), len(errors)
    drawn = (mean * num * gallery + 2) / (num * gallery + 4)
    by_hits = sqrt(drawn * (1 - drawn) / (num * gallery))
    return max(by_hits, float(np.std(errors, ddof=1)) / sqrt(num)) if num > 1 else by_hits
