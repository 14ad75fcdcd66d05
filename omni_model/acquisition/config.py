"""What a selection is asked for. Importing this file imports neither torch nor mlflow."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """How many candidates to pick for labelling, by which function, and under which limits."""

    acquisition: str = "margin"
    """Name in `ACQUISITIONS`: random, least_confidence, margin, entropy, bald, badge, core_set, disagreement."""

    budget: int = 100
    """Rows to pick, both arms together."""

    control_share: float = 0.1
    """Share of the budget that goes to the random control arm, in [0, 1)."""

    near_duplicate_cosine: float = 0.999
    """Two rows whose fused embeddings have at least this cosine are near-duplicates, in (-1, 1]."""

    max_near_duplicates: int | None = 1
    """Rows that the uncertainty arm may take out of a set of mutual near-duplicates; None switches the cap off."""

    domain_quota: float | Mapping[str, float] | None = None
    """Largest share of the uncertainty arm that one domain may take, in [0, 1]: one number for every domain, or a
    number per domain (a domain not named has no limit, 0 keeps one out); None switches the quota off."""

    overfetch: int = 10
    """Rows kept in memory during the pass, as a multiple of the budget; at least 2."""

    seed: int = 0
    """Seed of the control arm, of ties and of the random functions, used when no generator is passed."""

    def __post_init__(self) -> None:
        _require(self.budget >= 1, "budget", self.budget, "at least 1")
        _require(0.0 <= self.control_share < 1.0, "control_share", self.control_share, "in [0, 1)")
        _require(
            -1.0 < self.near_duplicate_cosine <= 1.0, "near_duplicate_cosine", self.near_duplicate_cosine, "in (-1, 1]"
        )
        limit = self.max_near_duplicates
        _require(limit is None or limit >= 1, "max_near_duplicates", limit, "at least 1, or None for no cap")
        _require(self.overfetch >= 2, "overfetch", self.overfetch, "at least 2")
        _require(self.seed >= 0, "seed", self.seed, "at least 0")
        for share in self._quota_shares():
            _require(0.0 <= share <= 1.0, "domain_quota", share, "a share in [0, 1]")

    def control_rows(self, num_available: int) -> int:
        """Rows of the control arm when `num_available` valid candidates were seen. A share above 0 leaves neither arm
        empty as long as there are two rows to share.

        >>> SelectionConfig(budget=100, control_share=0.1).control_rows(1_000_000)
        10
        >>> SelectionConfig(budget=100, control_share=0.1).control_rows(3)
        1
        """
        num_rows = min(self.budget, num_available)
        if self.control_share == 0.0 or num_rows < 2:
            return 0
        return min(max(1, math.floor(self.control_share * num_rows + 0.5)), num_rows - 1)

    def uncertainty_rows(self, num_available: int) -> int:
        """Rows of the uncertainty arm when `num_available` valid candidates were seen."""
        return min(self.budget, num_available) - self.control_rows(num_available)

    def quota_rows(self, domain: str, arm_rows: int) -> int:
        """Rows that `domain` may take out of an uncertainty arm of `arm_rows`; a share above 0 gives at least one.

        >>> SelectionConfig(domain_quota=0.25).quota_rows("en", 90)
        22
        >>> SelectionConfig(domain_quota={"en": 0.0}).quota_rows("en", 90)
        0
        >>> SelectionConfig(domain_quota={"en": 0.0}).quota_rows("fr", 90)
        90
        """
        quota = self.domain_quota
        share = 1.0 if quota is None else quota.get(domain, 1.0) if isinstance(quota, Mapping) else quota
        return 0 if share == 0.0 else min(arm_rows, max(1, math.floor(share * arm_rows + 1e-9)))

    def _quota_shares(self) -> list[float]:
        if self.domain_quota is None:
            return []
        return list(self.domain_quota.values()) if isinstance(self.domain_quota, Mapping) else [self.domain_quota]


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise ValueError(f"selection.{name} must be {rule}, got {value}. Set OMNI_SELECTION__{name.upper()}.")
