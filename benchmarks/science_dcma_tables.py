"""Figures and tables of the comparison of attention across modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.harness import Figure, figure, figure_of
from benchmarks.science_stats import difference, interval, spread

OURS, BASELINE = "dcma", "joint"


def figures_of(name: str, runs: Mapping[str, list[dict[str, Any]]], seeds: Sequence[int]) -> dict[str, Figure]:
    """Accuracies and paired differences of the contenders; the headline on tri-digits has no suffix."""
    suffix = "" if name == "tri-digits" else "_" + name.lower().replace("-", "_").replace(" ", "_")
    made = {}
    for arm, several in runs.items():
        key = arm.replace(", ", "_").replace(" ", "_")
        made[f"attention_{key}_accuracy{suffix}"] = figure_of(
            [run["accuracy"] for run in several], "accuracy", seeds=seeds[: len(several)]
        )
        if arm != OURS:
            gaps = [100 * (a["accuracy"] - b["accuracy"]) for a, b in zip(runs[OURS], several, strict=False)]
            title = "dcma_minus_joint_attention_points" if arm == BASELINE else f"dcma_minus_{key}_points"
            made[f"{title}{suffix}"] = figure_of(gaps, "points", seeds=seeds[: len(gaps)])
    gaps = [100 * (a["accuracy"] - b["accuracy"]) for a, b in zip(runs[OURS], runs[BASELINE], strict=False)]
    low, high = interval(gaps)
    if np.isfinite(low):
        made[f"dcma_minus_joint_attention_low{suffix}"] = figure(low, "points", n=len(gaps))
        made[f"dcma_minus_joint_attention_high{suffix}"] = figure(high, "points", n=len(gaps))
    return made


def ahead(several: list[dict[str, Any]], ours: list[dict[str, Any]]) -> float:
    """Mean difference to DCMA over the seeds that a contender has."""
    return float(np.mean([a["accuracy"] - b["accuracy"] for a, b in zip(several, ours, strict=False)]))


def paired(a: Sequence[float], b: Sequence[float]) -> str:
    """The difference in points over the seeds that both have."""
    count = min(len(a), len(b))
    return difference(a[:count], b[:count])


def tables_of(name: str, runs: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Accuracy with differences, and accuracy under damage."""
    ours = [run["accuracy"] for run in runs[OURS]]
    seeds = f"{len(ours)} seeds"
    whole, damage = [], []
    columns = [key for key in runs[OURS][0] if key.startswith(("without", "corrupted"))]
    for arm, several in sorted(runs.items(), key=lambda entry: -ahead(entry[1], runs[OURS])):
        got = [run["accuracy"] for run in several]
        title = arm if len(got) == len(ours) else f"{arm} ({len(got)} seeds)"
        whole.append(
            [
                title,
                f"{several[0]['parameters']:,}",
                spread(got),
                "–" if arm == OURS else paired(ours, got),
                spread([run["alignment error"] for run in several]),
                f"{np.mean([run['cpu_s'] for run in several]):.1f}",
            ]
        )
        damage.append([title, *(spread([run[key] for run in several]) for key in columns)])
    both = [[[run[key] for run in runs[arm]] for key in columns] for arm in (OURS, BASELINE)]
    damage.append(["DCMA minus joint, points", *(paired(a, b) for a, b in zip(*both, strict=True))])
    head = ["attention", "parameters", "accuracy", "DCMA minus it, points", "alignment error", "training, CPU s"]
    return [
        {"title": f"Attention on {name}, {seeds}", "head": head, "rows": whole},
        {
            "title": f"Attention on {name} with a modality gone or corrupted, {seeds}",
            "head": ["attention", *columns],
            "rows": damage,
        },
    ]
