"""Does the traffic of a version look like what it was validated on? Tests on what the log of predictions holds.

Three questions, asked of a window of predictions, none of which an ordinary difference of mix sets off:

- is there more than a small share of domains, or combinations of modalities, that validation hardly knew (binomial)?
- within a domain that it knew, is the version as confident as it was there (two-sample Kolmogorov-Smirnov)?
- is the mix of domains, or of modalities, another than in this version's traffic before (chi-square)?

Each has a floor for the size of the effect, below which a difference is true but does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from monitoring.config import TriggerConfig
from monitoring.mixes import Mix, count, mix_shift, new_categories, too_little
from monitoring.rules import holm
from monitoring.triggers import ASK, DRIFT, NOT_ENOUGH, NOT_MEASURED, OFF, QUIET, Finding, Judgement, alpha_of_look

NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What a number of predictions have in common: columns of one length."""

    confidence: NDArray[np.float64]
    """Probability of the answer; nan where the version gave none."""
    domains: tuple[str, ...]
    modalities: tuple[str, ...]
    """What each sample consisted of, such as `image+text`."""

    def __post_init__(self) -> None:
        lengths = {len(self.confidence), len(self.domains), len(self.modalities)}
        if len(lengths) > 1:
            raise ValueError(
                f"The columns of a traffic must have one length, got {sorted(lengths)}. Give a value each."
            )

    def __len__(self) -> int:
        return len(self.domains)

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` restores; nan becomes None."""
        confidence = [float(value) if np.isfinite(value) else None for value in self.confidence]
        return {"confidence": confidence, "domains": list(self.domains), "modalities": list(self.modalities)}

    @staticmethod
    def from_json(raw: Mapping[str, Any]) -> Traffic:
        """What `to_json` gave."""
        return traffic(raw["confidence"], raw["domains"], raw["modalities"])


def traffic(confidence: Sequence[float | None], domains: Sequence[str], modalities: Sequence[str]) -> Traffic:
    """Columns as a log has them; None is a confidence that was not finite.

    >>> len(traffic([0.9, None], ["en", "en"], ["text", "text"]))
    2
    """
    values = np.array([NAN if value is None else value for value in confidence], dtype=np.float64)
    return Traffic(confidence=values, domains=tuple(domains), modalities=tuple(modalities))


def judge_drift(
    now: Traffic,
    baseline: Traffic | None,
    before: Mapping[str, Mix],
    config: TriggerConfig,
    *,
    look: int = 1,
) -> Judgement:
    """Is the traffic of a version another than the one it was validated on, or than it was before?

    `baseline` are its validation predictions, None if there are none; `before` holds the rows of its earlier traffic by
    `domains` and `modalities`. The findings share the false alarms of this look equally.
    """
    if config.drift_first_rows == 0:
        return Judgement(kind=DRIFT, verdict=OFF, sentence="Drift asks for no round.")
    alpha = alpha_of_look(look, config.max_false_alarm) / 5
    findings = (
        new_categories("domains", now.domains, None if baseline is None else baseline.domains, config, alpha),
        new_categories("modalities", now.modalities, None if baseline is None else baseline.modalities, config, alpha),
        confidence_shift(now, baseline, config, alpha),
        mix_shift("domains", count(now.domains), before.get("domains", {}), config, alpha),
        mix_shift("modalities", count(now.modalities), before.get("modalities", {}), config, alpha),
    )
    verdict = next(
        (level for level in (ASK, NOT_MEASURED, NOT_ENOUGH) if any(each.verdict == level for each in findings)), QUIET
    )
    telling = [each.sentence for each in findings if each.verdict == verdict]
    sentence = f"None of {len(findings)} tests finds drift in {len(now):,} predictions."
    return Judgement(
        kind=DRIFT,
        verdict=verdict,
        sentence=sentence if verdict == QUIET else " ".join(telling),
        numbers={"num_rows": float(len(now)), "look": float(look), "alpha": alpha},
        findings=findings,
    )


def confidence_shift(now: Traffic, baseline: Traffic | None, config: TriggerConfig, alpha: float) -> Finding:
    """Is the version as confident as at validation, domain by domain (Holm's correction over the domains)?"""
    name = "confidence"
    if baseline is None:
        return too_little(name, len(now), "validation predictions")
    num_nan = int(np.isnan(now.confidence).sum()), int(np.isnan(baseline.confidence).sum())
    if any(num_nan):
        sentence = (
            f"The confidence of {num_nan[0]:,} of {len(now):,} predictions and of {num_nan[1]:,} of {len(baseline):,} "
            "validation predictions is not a number. Roll that version back, or look at its inputs."
        )
        return Finding(name=name, verdict=NOT_MEASURED, sentence=sentence, value=NAN, p_value=NAN, num_rows=len(now))
    pairs = {domain: _both(now, baseline, domain) for domain in sorted(set(now.domains) & set(baseline.domains))}
    pairs = {domain: pair for domain, pair in pairs.items() if min(map(len, pair)) >= config.min_rows}
    if not pairs:
        return too_little(name, len(now), "predictions and validation samples of one domain")
    tests = {domain: stats.ks_2samp(*pair, method="asymp") for domain, pair in pairs.items()}
    p_values = holm([float(test.pvalue) for test in tests.values()])
    rows = [(domain, float(test.statistic), p) for (domain, test), p in zip(tests.items(), p_values, strict=True)]
    beyond = [row for row in rows if row[2] <= alpha and row[1] >= config.min_distance]
    domain, distance, p_value = min(beyond or rows, key=lambda row: (row[2], -row[1]))
    (live, known), asks, num_rows = pairs[domain], bool(beyond), sum(len(pair[0]) for pair in pairs.values())
    if not asks and num_rows < len(now) / 2:
        return too_little(name, num_rows, "predictions of domains that validation knew")
    limit = f"{'beyond' if asks else 'not clearly beyond'} {config.min_distance:.2f} (p {p_value:.2g})"
    sentence = (
        f"Confidence{f' for domain={domain}' if domain else ''} has a median of {np.median(live):.3f} in "
        f"{len(live):,} predictions and had {np.median(known):.3f} at validation ({len(known):,}): Kolmogorov-Smirnov "
        f"distance {distance:.2f}, {limit}."
    )
    return Finding(
        name=name,
        verdict=ASK if asks else QUIET,
        sentence=sentence,
        value=distance,
        p_value=p_value,
        num_rows=num_rows,
    )


def _both(now: Traffic, baseline: Traffic, domain: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return (
        now.confidence[np.array(now.domains) == domain],
        baseline.confidence[np.array(baseline.domains) == domain],
    )
