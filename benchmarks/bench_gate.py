"""Error rates of the gate and of probation, by simulation and on real versions.

    make bench-gate            about twelve minutes
    make bench-gate QUICK=1    about a minute

Headline: two versions of accuracy .80 that disagree on 8 % of the samples, watched for 5,000 pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.gate_streams import NEVER, Outcome, Pairs, bare_threshold, failed_windows, probation
from benchmarks.gate_versions import RealVersions, exchanged, fallen, train_versions
from benchmarks.gate_worlds import MADE_AT, World, draw_pairs, independent, made_outcomes
from benchmarks.harness import Figure, figure, figure_of, quick, write_results
from monitoring.comparison import compare
from monitoring.config import GateConfig, ProbationConfig
from monitoring.gate import judge, judge_again

FALL = 0.05
CONFIG = ProbationConfig()
BASELINE_PAIRS = 2000
"""How long the rules that people use are watched: they only get worse with time."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is simulated."""

    streams: int
    validations: int
    real_seeds: tuple[int, ...]
    epochs: int
    tune_epochs: int


FULL = Size(streams=4000, validations=1000, real_seeds=(0, 1, 2), epochs=20, tune_epochs=16)
SHORT = Size(streams=300, validations=40, real_seeds=(0,), epochs=3, tune_epochs=3)

STRUCTURES: dict[str, Callable[[float], World]] = {
    "headline": lambda fall: World(accuracy=0.80, fall=fall, discordance=0.08),
    "acc80_disagree05": lambda fall: World(accuracy=0.80, fall=fall, discordance=0.05),
    "acc80_disagree10": lambda fall: World(accuracy=0.80, fall=fall, discordance=0.10),
    "acc80_disagree20": lambda fall: World(accuracy=0.80, fall=fall, discordance=0.20),
    "acc80_independent": lambda fall: independent(0.80, fall),
    "acc95_disagree06": lambda fall: World(accuracy=0.95, fall=fall, discordance=0.06),
    "acc60_disagree10": lambda fall: World(accuracy=0.60, fall=fall, discordance=0.10),
}
VALIDATIONS: dict[str, World] = {
    "equal": World(accuracy=0.80, fall=0.0, discordance=0.10),
    "better5points": World(accuracy=0.80, fall=-0.0625, discordance=0.10),
    "at_limit": World(accuracy=0.80, fall=0.05, discordance=0.10),
    "worse5points": World(accuracy=0.80, fall=0.0625, discordance=0.10),
    "worse10points": World(accuracy=0.80, fall=0.125, discordance=0.15),
}
SIZES = (100, 200, 300, 1000, 4000, 12000)


def main() -> None:
    """Run everything, show the tables, write the figures."""
    size, console = SHORT if quick() else FULL, Console()
    figures: dict[str, Figure] = {}
    figures |= watch_structures(size, console)
    figures |= disasters(size)
    figures |= validate_made(size, console)
    figures |= real_versions(size, console)
    path = write_results(
        "gate",
        figures,
        quick=quick(),
        notes=(
            "Headline figures: accuracy .80, the versions disagree on 8 % of the samples, at most 5,000 pairs. The "
            "spread of a rate is its standard error.",
            "bare_*: accuracy so far is below the limit at a look, every 50 requests; windows_*: the fifth window "
            "of 50 below the limit. Both know the old version's true accuracy and watch 2,000 requests.",
            "gate_*: verdicts on one validation of n samples; versions of accuracy .80 that disagree on 10 %.",
            "real_*: versions trained on tri-digits, their answers to held-out samples drawn with replacement; equal "
            "ones by exchanging two by a coin, a fall of 5 % by letting a worse version answer some of the requests.",
        ),
    )
    console.print(f"Written to {path}")


def watch_structures(size: Size, console: Console) -> dict[str, Figure]:
    """False rollbacks of equal versions and missed falls of 5 %, for each structure and rule."""
    table = Table("versions", "rule", "equal: rolled back", "fall of 5 %: caught", "median pairs", title="Watching")
    figures: dict[str, Figure] = {}
    for number, (name, world_of) in enumerate(STRUCTURES.items()):
        rng = np.random.default_rng(number)
        equal = draw_pairs(world_of(0.0), (size.streams, CONFIG.max_pairs), rng)
        worse = draw_pairs(world_of(FALL), (size.streams, CONFIG.max_pairs), rng)
        accuracy = world_of(0.0).accuracy
        for rule, run in rules(accuracy).items():
            null, alternative = run(*equal), run(*worse)
            table.add_row(
                name,
                rule,
                f"{null.rollback_rate:.2%}",
                f"{alternative.rollback_rate:.2%}",
                f"{alternative.median_rollback:,.0f}",
            )
            suffix = "" if name == "headline" else f"_{name}"
            prefix = "" if rule == "probation" else f"{rule}_"
            if rule == "probation" or name == "headline":
                figures |= stream_figures(null, alternative, prefix, suffix)
            if rule == "probation":
                figures |= horizon_figures(null, alternative, suffix)
    console.print(table)
    return figures


def rules(accuracy: float) -> dict[str, Callable[[Pairs, Pairs], Outcome]]:
    """Ours first, then the two that people use; those know the old version's true accuracy and see only the new one."""
    return {
        "probation": lambda old, new: probation(old, new, CONFIG),
        "bare": lambda _, new: bare_threshold(accuracy, new[:, :BASELINE_PAIRS], FALL),
        "windows": lambda _, new: failed_windows(accuracy, new[:, :BASELINE_PAIRS], FALL),
    }


def stream_figures(null: Outcome, alternative: Outcome, prefix: str, suffix: str) -> dict[str, Figure]:
    """The three headline figures of one rule in one structure."""
    median = alternative.median_rollback
    return {
        f"{prefix}false_rollback_rate{suffix}": rate(null.rolled_back_after < NEVER),
        f"{prefix}missed_regression_rate{suffix}": rate(alternative.rolled_back_after == NEVER),
        f"{prefix}median_pairs_to_detect{suffix}": figure(
            median if np.isfinite(median) else None, "pairs", n=len(alternative.rolled_back_after)
        ),
    }


def horizon_figures(null: Outcome, alternative: Outcome, suffix: str) -> dict[str, Figure]:
    """What has happened by shorter horizons, and how equal versions leave probation."""
    figures = {
        f"caught_by_{horizon}_pairs{suffix}": rate(alternative.rolled_back_after <= horizon) for horizon in (1000, 2000)
    }
    accepted = np.sort(null.accepted_after)[len(null.accepted_after) // 2]
    figures[f"false_accept_rate{suffix}"] = rate(alternative.accepted_after < NEVER)
    figures[f"equal_accepted_rate{suffix}"] = rate(null.accepted_after < NEVER)
    figures[f"median_pairs_to_accept{suffix}"] = figure(
        float(accepted) if accepted < NEVER else None, "pairs", n=len(null.accepted_after)
    )
    return figures


def disasters(size: Size) -> dict[str, Figure]:
    """Pairs until large falls are rolled back; the 95th percentile, because the slow ones hurt."""
    figures = {}
    for points in (20, 30, 50):
        world = World(accuracy=0.80, fall=points / 80, discordance=points / 100 + 0.04)
        outcome = probation(*draw_pairs(world, (size.streams, 500), np.random.default_rng(points)), CONFIG)
        p95 = float(np.sort(outcome.rolled_back_after)[int(0.95 * size.streams)])
        figures[f"disaster_{points}_points_median_pairs"] = figure(outcome.median_rollback, "pairs", n=size.streams)
        figures[f"disaster_{points}_points_p95_pairs"] = figure(p95, "pairs", n=size.streams)
    return figures


def validate_made(size: Size, console: Console) -> dict[str, Figure]:
    """The gate's verdicts by size of the validation set."""
    table = Table("candidate", "samples", "accept", "reject", "inconclusive", title="The gate, one validation")
    figures: dict[str, Figure] = {}
    for name, world in VALIDATIONS.items():
        for num_samples in SIZES:
            decisions = np.array(list(made_decisions(world, num_samples, size)))
            table.add_row(
                name,
                f"{num_samples:,}",
                *(f"{np.mean(decisions == word):.1%}" for word in ("accept", "reject", "inconclusive")),
            )
            for word in ("accept", "reject"):
                figures[f"gate_{name}_n{num_samples}_{word}"] = rate(decisions == word)
    console.print(table)
    for title, name, word in (("accept", "at_limit", "accept"), ("reject", "equal", "reject")):
        worst = max((figures[f"gate_{name}_n{n}_{word}"] for n in SIZES), key=lambda entry: entry["value"] or 0.0)
        figures[f"gate_false_{title}_rate"] = worst
    return figures


def made_decisions(world: World, num_samples: int, size: Size) -> Iterator[str]:
    """Verdicts on validations drawn from one world; fewer of the large ones, which take longer."""
    config = GateConfig()
    for number in range(max(size.validations // 10, size.validations * 300 // max(num_samples, 300))):
        rng = np.random.default_rng((num_samples, number))
        comparisons = compare(made_outcomes(world, num_samples, rng), resamples=300, seed=number)
        yield judge(comparisons, config, now=MADE_AT, serving_version=1).decision


def real_versions(size: Size, console: Console) -> dict[str, Figure]:
    """The same on streams drawn from what real versions answered."""
    rows: dict[str, list[float]] = {}
    for seed in size.real_seeds:
        versions = train_versions(seed=seed, epochs=size.epochs, tune_epochs=size.tune_epochs, say=console.print)
        for name, value in real_row(versions, seed, size).items():
            rows.setdefault(name, []).append(value)
    units = {"real_median_pairs_to_detect": "pairs"}
    return {
        name: figure_of(values, units.get(name, "fraction"), seeds=size.real_seeds)
        for name, values in rows.items()
        if np.isfinite(values).all()
    }


def real_row(versions: RealVersions, seed: int, size: Size) -> dict[str, float]:
    """Figures of one set of real versions."""
    rng = np.random.default_rng(seed)
    shape = (size.streams, CONFIG.max_pairs)
    tuned, retuned, base = (versions.right(name) for name in ("tuned", "retuned", "base"))
    null = probation(*exchanged(tuned, retuned, shape, rng), CONFIG)
    alternative = probation(*fallen(tuned, retuned, base, FALL, shape, rng), CONFIG)
    better, worse = versions.outcomes("base", "tuned", MADE_AT), versions.outcomes("tuned", "base", MADE_AT)
    return {
        "real_accuracy": float(tuned.mean()),
        "real_discordance": float(np.mean(tuned != retuned)),
        "real_false_rollback_rate": null.rollback_rate,
        "real_missed_regression_rate": 1 - alternative.rollback_rate,
        "real_median_pairs_to_detect": alternative.median_rollback,
        "real_better_accepted": float(judge_again(better, GateConfig()).decision == "accept"),
        "real_worse_rejected": float(judge_again(worse, GateConfig()).decision == "reject"),
    }


def rate(happened: NDArray[np.bool_]) -> Figure:
    """A share with its standard error as spread."""
    share = float(np.mean(happened))
    return figure(share, "fraction", spread=sqrt(share * (1 - share) / len(happened)), n=len(happened))


if __name__ == "__main__":
    main()
