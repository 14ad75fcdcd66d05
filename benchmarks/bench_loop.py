"""Ours against leaving the model alone, naive fine-tuning, and full retraining, on the six-domain tri-digits stream.

    make bench-loop            five seeds; well over half an hour on two cores
    make bench-loop QUICK=1    one seed, few epochs; the figures mean nothing then

Accuracy is the mean over the six domains' test splits after the last domain; every contender of a seed starts from the
same base model. Compute counts samples seen times trained parameters. Training of the base model is nobody's cost: it
is there before the stream begins, and joint training starts without it.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.harness import Figure, figure_of, quick, write_results
from benchmarks.loop_stream import Outcome, Setup, Stream, base_model, contenders
from monitoring.measures.continual import continual_scores

SEEDS = (0, 1, 2, 3, 4)
NUM_WORKERS = 2
"""Seeds measured side by side; all contenders of a seed share one worker, so their seconds compare."""


def main() -> None:
    """Measure, print the table, keep the figures."""
    short, console = quick(), Console()
    seeds: tuple[int, ...] = SEEDS
    setup = Setup()
    if short:
        seeds = (0,)
        setup = Setup(train=replace(setup.train, epochs=4), elastic=replace(setup.elastic, epochs=3), epochs_alone=3)
    results: dict[str, list[Outcome]] = {name: [] for name in contenders()}
    with ProcessPoolExecutor(NUM_WORKERS, mp_context=get_context("spawn")) as pool:
        for seed, outcomes in zip(seeds, pool.map(run_seed, seeds, [setup] * len(seeds)), strict=True):
            for name, outcome in outcomes.items():
                results[name].append(outcome)
                console.print(
                    f"seed {seed} {name:<20} {outcome.accuracy:.3f} {outcome.seconds:6.1f} s", highlight=False
                )
    show(console, results)
    write_results("loop", figures(results, seeds), quick=short, notes=__doc__)


def run_seed(seed: int, setup: Setup) -> dict[str, Outcome]:
    """Every contender of one seed, one after the other on one core."""
    torch.set_num_threads(1)
    stream = Stream.create(seed)
    base = base_model(stream, setup, seed)
    return {name: run(base, stream, setup, seed) for name, run in contenders().items()}


def figures(results: dict[str, list[Outcome]], seeds: tuple[int, ...]) -> dict[str, Figure]:
    """Accuracy, seconds, compute and forgetting of each contender, and the differences that the headline is about."""
    made: dict[str, Figure] = {}
    for name, outcomes in results.items():
        made[name] = figure_of([outcome.accuracy for outcome in outcomes], "accuracy", seeds=seeds)
        made[f"{name}_train_s"] = figure_of([outcome.seconds for outcome in outcomes], "s", seeds=seeds)
        if len(outcomes[0].matrix) > 1:
            scores = [continual_scores(outcome.matrix) for outcome in outcomes]
            made[f"{name}_forgetting"] = figure_of([score.forgetting for score in scores], "accuracy", seeds=seeds)
            made[f"{name}_backward_transfer"] = figure_of(
                [score.backward_transfer for score in scores], "accuracy", seeds=seeds
            )
    for name in ("ours_100", "ours_30", "ours_10", "ours_30_labels_alone", "naive"):
        pairs = list(zip(results[name], results["joint"], strict=True))
        made[f"{name}_minus_joint_points"] = figure_of(
            [100 * (a.accuracy - b.accuracy) for a, b in pairs], "points", seeds=seeds
        )
        suffix = "" if name == "ours_30" else f"_{name}"
        made[f"compute_ratio_to_joint{suffix}"] = figure_of(
            [a.compute / b.compute for a, b in pairs], "ratio", seeds=seeds
        )
        made[f"seconds_ratio_to_joint{suffix}"] = figure_of(
            [a.seconds / b.seconds for a, b in pairs], "ratio", seeds=seeds
        )
    for share in (30, 10):
        pairs = list(zip(results[f"ours_{share}"], results[f"random_{share}"], strict=True))
        gains = [100 * (a.accuracy - b.accuracy) for a, b in pairs]
        made[f"uncertainty_minus_random_{share}_points"] = figure_of(gains, "points", seeds=seeds)
    return made


def show(console: Console, results: dict[str, list[Outcome]]) -> None:
    """The table that a person reads."""
    table = Table("contender", "labels", "accuracy", "forgetting", "training s", "compute")
    for name, outcomes in results.items():
        accuracy = [outcome.accuracy for outcome in outcomes]
        several = len(outcomes[0].matrix) > 1
        forgetting = np.mean([continual_scores(o.matrix).forgetting for o in outcomes]) if several else np.nan
        table.add_row(
            name,
            f"{np.mean([outcome.num_labels for outcome in outcomes]):.0f}",
            f"{np.mean(accuracy):.3f} ± {np.std(accuracy, ddof=len(accuracy) > 1):.3f}",
            f"{forgetting:+.3f}" if several else "–",
            f"{np.mean([outcome.seconds for outcome in outcomes]):.1f}",
            f"{np.mean([float(outcome.compute) for outcome in outcomes]):.2e}",
        )
    console.print(table)


if __name__ == "__main__":
    main()
