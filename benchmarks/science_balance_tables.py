"""Figures and table of the comparison of losses and gradients against modality bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.harness import Figure, figure_of
from benchmarks.science_stats import difference, interval, spread

UNIFORM, MATCHED, STATIC, ALONE = "uniform", "uniform, matched rate", "fixed weights, tuned", "fused loss alone"
ARTICLE, SOUND = "DWA, the article's", "DWA, sound"
CONTROLS = (MATCHED, STATIC)


def figures_of(name: str, runs: Mapping[str, list[Any]], seeds: Sequence[int]) -> dict[str, Figure]:
    """Gains over uniform weights and the rank among all methods; no suffix on biased tri-digits."""
    suffix = "" if name == "biased tri-digits" else "_" + name.lower().replace("-", "_").replace(" ", "_")
    cross = {method: [run["cross"] for run in several] for method, several in runs.items()}
    order = [method for method in ranked(cross) if method != MATCHED]
    made = {
        f"mbl_gain_relative{suffix}": gain(cross[ARTICLE], cross[UNIFORM], seeds),
        f"mbl_gain_over_fused_loss_alone{suffix}": gain(cross[ARTICLE], cross[ALONE], seeds),
        f"mbl_rank_among_peers{suffix}": figure_of([order.index(ARTICLE) + 1], f"of {len(order)}"),
        f"dwa_rate_factor{suffix}": figure_of([run["rate_factor"] for run in runs[ARTICLE]], "ratio", seeds=seeds),
    }
    if SOUND in cross:
        made[f"mbl_sound_gain_relative{suffix}"] = gain(cross[SOUND], cross[UNIFORM], seeds)
        made[f"mbl_sound_rank_among_peers{suffix}"] = figure_of([order.index(SOUND) + 1], f"of {len(order)}")
    return made


def gain(a: Sequence[float], b: Sequence[float], seeds: Sequence[int]) -> Figure:
    """Relative gain by seed."""
    return figure_of([x / y - 1 for x, y in zip(a, b, strict=False)], "ratio", seeds=seeds[: min(len(a), len(b))])


def ranked(cross: Mapping[str, Sequence[float]]) -> list[str]:
    """Methods by their mean difference to uniform weights over the seeds that they have, best first.

    >>> ranked({"uniform": [0.5, 0.9], "a": [0.6], "b": [0.5, 0.8]})
    ['a', 'uniform', 'b']
    """
    gaps = {method: [x - y for x, y in zip(got, cross[UNIFORM], strict=False)] for method, got in cross.items()}
    return sorted(cross, key=lambda method: -float(np.mean(gaps[method])))


def paired(a: Sequence[float], b: Sequence[float]) -> str:
    """The difference over the seeds that both have."""
    count = min(len(a), len(b))
    return difference(a[:count], b[:count])


def table_of(name: str, runs: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Methods, best cross-modal accuracy first."""
    cross = {method: [run["cross"] for run in several] for method, several in runs.items()}
    means = {key: np.mean([run["alone"][key] for run in runs[UNIFORM]]) for key in runs[UNIFORM][0]["alone"]}
    weak = min(means, key=lambda key: means[key])
    rows = []
    for method in ranked(cross):
        gaps = [
            interval([a - b for a, b in zip(cross[method], cross[control], strict=False)])[0] for control in CONTROLS
        ]
        balances = [run["balance"] for run in runs[method] if run["balance"] is not None]
        rows.append(
            [
                method if len(cross[method]) == len(cross[UNIFORM]) else f"{method} ({len(cross[method])} seeds)",
                spread(cross[method]),
                "–" if method == UNIFORM else paired(cross[method], cross[UNIFORM]),
                *("–" if method == control else paired(cross[method], cross[control]) for control in CONTROLS),
                "–" if method in (UNIFORM, ALONE, *CONTROLS) else "yes" if min(gaps) > 0 else "no",
                spread([run["probe"][weak] for run in runs[method]]),
                spread(balances) if balances else "–",
                f"{np.mean([run['cpu_s'] for run in runs[method]]):.1f}",
            ]
        )
    head = ["loss", "cross-modal accuracy", "minus uniform", "minus matched rate", "minus tuned fixed", "better"]
    head += [f"probe of {weak}, the weaker", "balance", "training, CPU s"]
    return {
        "title": f"Balancing modalities on {name}, {len(cross[UNIFORM])} seeds; differences in points",
        "head": head,
        "rows": rows,
    }
