"""Run by the peers' own Python: what modAL and scikit-activeml pick from the scores in an npz file, and how fast.

    python selection_functions.py scores.npz    prints JSON: name -> {"rows": [...], "seconds": ...}

Each library gets what its function asks for, already in memory, so that only scoring and picking are timed.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np
from modAL.uncertainty import entropy_sampling, margin_sampling, uncertainty_sampling
from skactiveml.pool import average_kl_divergence, k_greedy_center, uncertainty_scores

REPEATS = 5


class Answers:
    """A classifier in modAL's sense, whose probabilities are known."""

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        """The rows are the probabilities."""
        return rows


def top(scores: np.ndarray, budget: int) -> np.ndarray:
    """The highest scores first, as scikit-activeml's `simple_batch` picks them."""
    from skactiveml.utils import simple_batch

    return np.asarray(simple_batch(scores, random_state=0, batch_size=budget))


def main() -> None:
    """Time each function; the least of a few repeats counts."""
    with np.load(sys.argv[1], allow_pickle=False) as file:
        data = {name: file[name] for name in file.files}
    probs, passes, budget = data["probs"], data["passes"], int(data["budget"])
    points = np.concatenate([data["labelled"], data["points"]])
    known = np.full(len(points), np.nan)
    known[: len(data["labelled"])] = 0
    jobs: dict[str, Callable[[], np.ndarray]] = {
        "modal least_confidence": lambda: uncertainty_sampling(Answers(), probs, n_instances=budget)[0],
        "modal margin": lambda: margin_sampling(Answers(), probs, n_instances=budget)[0],
        "modal entropy": lambda: entropy_sampling(Answers(), probs, n_instances=budget)[0],
        "skactiveml least_confidence": lambda: top(uncertainty_scores(probs, method="least_confident"), budget),
        "skactiveml margin": lambda: top(uncertainty_scores(probs, method="margin_sampling"), budget),
        "skactiveml entropy": lambda: top(uncertainty_scores(probs, method="entropy"), budget),
        "skactiveml bald": lambda: top(average_kl_divergence(passes), budget),
        "skactiveml core_set": lambda: (
            k_greedy_center(points, known, batch_size=int(data["few"]), random_state=0)[0] - len(data["labelled"])
        ),
    }
    told = {}
    for name, job in jobs.items():
        times = []
        for _ in range(1 if "core_set" in name else REPEATS):
            began = time.process_time()
            rows = job()
            times.append(time.process_time() - began)
        told[name] = {"rows": np.asarray(rows).tolist(), "seconds": min(times)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
