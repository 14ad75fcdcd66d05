"""What the uncertainty arm may not take: too many near-duplicates, or more of one domain than its quota.

The cap: a row is passed over when at least k rows taken before it have a cosine of `near_duplicate_cosine` or more
with it. So any set of rows that are all near-duplicates of one another gives at most k, and k = 1 means that no two
rows taken are near-duplicates. A zero embedding has no direction and is nobody's near-duplicate.

Shapes: P pool rows, D width, T rows taken, b rows of a block.
"""

from dataclasses import dataclass, field

import numpy as np

from omni_model.acquisition.candidates import BoolArray, FloatArray, IntArray, ObjectArray
from omni_model.acquisition.config import SelectionConfig

COSINE_SLACK = 1e-6  # float32 rounding: two equal rows may come out at 0.9999999
BLOCK_ROWS = 256


def unit_rows(x_PD: FloatArray) -> FloatArray:
    """Each row divided by its length, as float32; zero rows stay zero; safe up to the largest float.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0], [1e30, 0.0]])).round(2).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0], [1.0, 0.0]]
    """
    largest_P1 = np.abs(x_PD).max(axis=1, keepdims=True, initial=0.0)
    scaled_PD = np.asarray(x_PD / np.where(largest_P1 > 0.0, largest_P1, 1.0), dtype=np.float32)
    length_P1 = np.linalg.norm(scaled_PD, axis=1, keepdims=True)
    return np.asarray(scaled_PD / np.where(length_P1 > 0.0, length_P1, 1.0), dtype=np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Limits:
    """The limits as they stand for one pool and one arm."""

    cosine: float
    max_near: int | None
    domains: IntArray
    """[P] number of each row's domain."""
    room: IntArray
    """Rows that each domain may give."""

    @classmethod
    def of(cls, config: SelectionConfig, domains: ObjectArray, arm_rows: int, *, times: int = 1) -> "Limits":
        """The limits that `config` sets on an arm of `arm_rows` out of a pool whose rows have these domains; `times`
        multiplies the quota."""
        if config.domain_quota is None:  # one domain, whose room never ends
            domains_P, room = np.zeros(len(domains), dtype=np.intp), np.array([times * arm_rows])
        else:
            numbers: dict[str, int] = {}
            domains_P = np.fromiter((numbers.setdefault(name, len(numbers)) for name in domains), np.intp, len(domains))
            room = np.array([times * config.quota_rows(name, arm_rows) for name in numbers], dtype=np.intp)
        cosine = config.near_duplicate_cosine - COSINE_SLACK
        return cls(cosine=cosine, max_near=config.max_near_duplicates, domains=domains_P, room=room)

    def within_quota(self) -> BoolArray:
        """[P] True for the first `room` rows of each domain, in the order of the pool."""
        return rank_in_group(self.domains) < self.room[self.domains]


def rank_in_group(groups_P: IntArray) -> IntArray:
    """How many rows of the same group stand before each row.

    >>> rank_in_group(np.array([0, 1, 0, 0, 1])).tolist()
    [0, 0, 1, 2, 1]
    """
    order_P = np.argsort(groups_P, kind="stable")
    sorted_P = groups_P[order_P]
    rank_P = np.empty(len(groups_P), dtype=np.intp)
    rank_P[order_P] = np.arange(len(groups_P)) - np.searchsorted(sorted_P, sorted_P)
    return rank_P


@dataclass(kw_only=True)
class Walk:
    """What a walk down an ordered pool took, and what it passed over. Row numbers of the pool."""

    taken: list[int] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    num_over_quota: int = 0
    num_walked: int = 0


def walk_down(fused_ND: FloatArray, order_P: IntArray, limits: Limits, budget: int) -> Walk:
    """Take rows of `fused_ND` in the order given, until `budget` are taken or the order ends. `limits` and the walk
    number the rows by their place in the order."""
    walk, room = Walk(), limits.room.tolist()
    width = fused_ND.shape[1] if limits.max_near is not None else 0  # without a cap no cosine is needed
    taken_TD = np.empty((min(budget, len(order_P)), width), dtype=np.float32)
    for start in range(0, len(order_P), BLOCK_ROWS):
        if len(walk.taken) == budget:
            break
        unit_bD = unit_rows(fused_ND[order_P[start : start + BLOCK_ROWS], :width])
        _walk_block(walk, start, unit_bD, taken_TD, room, limits, budget)
    return walk


def _walk_block(
    walk: Walk, start: int, unit_bD: FloatArray, taken_TD: FloatArray, room: list[int], limits: Limits, budget: int
) -> None:
    max_near = len(limits.domains) + 1 if limits.max_near is None else limits.max_near
    near_b = (unit_bD @ taken_TD[: len(walk.taken)].T >= limits.cosine).sum(axis=1)
    duplicate_b = near_b >= max_near
    alive_a = np.flatnonzero(~duplicate_b)  # the rows that only a row of this very block can close
    near_a, unit_aD = near_b[alive_a], unit_bD[alive_a]
    near_aa = unit_aD @ unit_aD.T >= limits.cosine
    num_walked = len(unit_bD)
    for place, row in enumerate(alive_a.tolist()):
        domain = int(limits.domains[start + row])
        if near_a[place] >= max_near:
            duplicate_b[row] = True
        elif room[domain] == 0:
            walk.num_over_quota += 1
        else:
            room[domain] -= 1
            taken_TD[len(walk.taken)] = unit_bD[row]
            walk.taken.append(start + row)
            near_a += near_aa[place]
            if len(walk.taken) == budget:
                num_walked = row + 1
                break
    walk.num_walked += num_walked
    walk.duplicates += (start + np.flatnonzero(duplicate_b[:num_walked])).tolist()


class OpenRows:
    """The same limits for an algorithm that picks in an order of its own: ask what is open, tell what was taken."""

    def __init__(self, fused_PD: FloatArray, limits: Limits) -> None:
        self.unit_PD = unit_rows(fused_PD)
        self.mask = limits.room[limits.domains] > 0
        """[P] True where a row may be taken."""
        self.duplicates = np.zeros(len(fused_PD), dtype=bool)
        self.over_quota = ~self.mask
        self._limits = limits
        self._room = limits.room.copy()
        self._num_near_P = np.zeros(len(fused_PD), dtype=np.int32)

    def take(self, row: int) -> FloatArray:
        """Mark the row as taken, close what it closes, and return the cosine [P] of every row with it."""
        cosine_P = self.unit_PD @ self.unit_PD[row]
        domain = self._limits.domains[row]
        self.mask[row] = False
        self._room[domain] -= 1
        if self._room[domain] == 0:
            self._close(self.over_quota, self._limits.domains == domain)
        if self._limits.max_near is not None:
            self._num_near_P += cosine_P >= self._limits.cosine
            self._close(self.duplicates, self._num_near_P >= self._limits.max_near)
        return np.asarray(cosine_P)

    def _close(self, reason: BoolArray, closed: BoolArray) -> None:
        reason |= closed & self.mask
        self.mask &= ~closed
