"""The acquisition functions beside those of modAL and scikit-activeml: the same choice on the same scores, and speed.

The libraries live in an environment of their own below the user's cache folder, built on first use.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Figure, figure
from benchmarks.science_cache import folder
from omni_model.acquisition import SelectionConfig, select
from omni_model.acquisition.candidates import CandidateBatch

NEEDS = ("modAL-python==0.4.2.1", "scikit-activeml==1.0.1", "numpy==2.4.6", "scikit-learn==1.9.1")
SCRIPT = Path(__file__).parent / "peers" / "selection_functions.py"
ANSWERS, WIDTH, PASSES = 10, 32, 8
REPEATS = 5
Say = Callable[[str], None]


class Unavailable(Exception):
    """The peers' environment cannot be built here."""


def python() -> Path:
    """The peers' Python, its environment built on first use. Raises :class:`Unavailable` with pip's reason."""
    place = folder() / "selection-peers"
    if not (place / "complete").exists():
        venv.create(place, with_pip=True, clear=True)
        command = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", *NEEDS]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable((done.stderr.strip().splitlines() or ["pip failed"])[-1][:200])
        (place / "complete").touch()
    return place / "bin" / "python"


def scores(num_rows: int, num_points: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Probabilities, passes with dropout, and embeddings, drawn so that no two rows tie."""
    rng = np.random.default_rng(seed)
    passes = rng.dirichlet(np.ones(ANSWERS), (PASSES, num_rows))
    return {
        "probs": rng.dirichlet(np.full(ANSWERS, 0.5), num_rows),
        "passes": passes,
        "labelled": rng.normal(size=(50, WIDTH)).astype(np.float32),
        "points": rng.normal(size=(num_points, WIDTH)).astype(np.float32),
    }


def ours(data: dict[str, np.ndarray], name: str, budget: int) -> tuple[list[int], float]:
    """Rows that `select` picks without control arm and without limits, and its CPU seconds, the least of a few."""
    of_set = name == "core_set"
    num = len(data["points"] if of_set else data["probs"])
    batch = CandidateBatch(
        ids=np.arange(num).astype(str).astype(object),
        domains=np.full(num, "d", dtype=object),
        probs=data["probs"][:num] if len(data["probs"]) >= num else np.full((num, ANSWERS), 1 / ANSWERS),
        fused=data["points"] if of_set else np.zeros((num, 1), dtype=np.float32),
        mc_probs=data["passes"] if name == "bald" else None,
    )
    overfetch = max(10, num // budget + 1) if of_set else 10
    config = SelectionConfig(
        acquisition=name, budget=budget, control_share=0.0, max_near_duplicates=None, overfetch=overfetch
    )
    times, rows = [], []
    for _ in range(1 if of_set else REPEATS):
        began = time.process_time()
        chosen = select([batch], config, labelled_fused=data["labelled"] if of_set else None)
        times.append(time.process_time() - began)
        rows = [int(row.id) for row in chosen.rows]
    return rows, min(times)


def measure_peers(quick: bool, say: Say) -> dict[str, Any]:
    """Figures, a table and a note; without the libraries, the note says so."""
    num_rows, num_points, budget, few = (2_000, 300, 100, 20) if quick else (100_000, 5_000, 1_000, 200)
    data = scores(num_rows, num_points)
    try:
        told = run(data | {"budget": np.array(budget), "few": np.array(few)})
    except Unavailable as reason:
        return {"figures": {}, "tables": [], "notes": [f"modAL and scikit-activeml could not be installed: {reason}"]}
    rows: list[list[str]] = []
    figures: dict[str, Figure] = {}
    for key, theirs in told.items():
        library, name = key.split()
        size = few if name == "core_set" else budget
        mine, seconds = ours(data, name, size)
        same = len(set(mine) & set(theirs["rows"])) / size
        ratio = seconds / theirs["seconds"]
        say(f"peers {key}: {same:.0%} the same, {ratio:.2f} of its time")
        rows.append(
            [name, library, f"{same:.1%}", f"{1e3 * seconds:.1f}", f"{1e3 * theirs['seconds']:.1f}", f"{ratio:.2f}"]
        )
        figures[f"selection_{name}_same_choice_as_{library}"] = figure(same, "share", n=size)
        figures[f"selection_{name}_time_ratio_to_{library}"] = figure(ratio, "ratio", n=1)
    head = ["function", "library", "same choice", "ours, CPU ms", "theirs, CPU ms", "ratio"]
    title = f"{budget:,} of {num_rows:,} rows ({few} of {num_points:,} for core_set), one thread"
    return {"figures": figures, "tables": [{"title": title, "head": head, "rows": rows}], "notes": []}


def run(data: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """What the libraries pick."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "scores.npz"
        np.savez(path, allow_pickle=False, **data)
        environ = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
        done = subprocess.run([python(), SCRIPT, path], capture_output=True, text=True, check=False, env=environ)
    if done.returncode:
        raise Unavailable(done.stderr.strip().splitlines()[-1][:200])
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found
