"""Made candidate streams of any length, and what selecting from one takes.

`python -m benchmarks.candidate_streams margin 1000000 mixed 0` selects 1,000 of a million by `margin` and prints the
seconds and the memory as JSON. It is a process of its own, so that nothing but the selection is in its memory.
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import numpy as np

from omni_model.acquisition import CandidateBatch, SelectionConfig, select

BUDGET = 1_000
BATCH_ROWS = 4_096
NUM_ANSWERS, WIDTH, NUM_PASSES = 10, 96, 10
SUBSETS = ("image", "audio", "text")
DOMAINS = ("en", "es", "fr", "it", "ru", "fr2")
NEW_ROW = 0.2  # how far a row of one batch lies from the same row of another: no near-duplicate


class CandidateStream:
    """`num_rows` candidates, made a batch at a time; `making_s` is the CPU time that the making took.

    `kind` "mixed": uncertainty and embedding independent. "rising": every row more uncertain than all before it, so
    that each pushes another out. "copies": nine rows of ten are the same most uncertain sample, as of a frozen camera.
    """

    def __init__(self, num_rows: int, *, kind: str = "mixed", seed: int = 0) -> None:
        self.num_rows = num_rows
        self.kind = kind
        self.making_s = 0.0
        self._rng = np.random.default_rng(seed)
        self._fused = self._rng.normal(size=(BATCH_ROWS, WIDTH)).astype(np.float32)
        self._mc_probs = self._distributions(NUM_PASSES, BATCH_ROWS)
        self._subset_probs = {name: self._distributions(BATCH_ROWS) for name in SUBSETS}
        self._domains = np.array([DOMAINS[row % len(DOMAINS)] for row in range(BATCH_ROWS)], dtype=object)

    def __iter__(self) -> Iterator[CandidateBatch]:
        for start in range(0, self.num_rows, BATCH_ROWS):
            began = time.process_time()
            batch = self._batch(start, min(BATCH_ROWS, self.num_rows - start))
            self.making_s += time.process_time() - began
            yield batch

    def _batch(self, start: int, num_rows: int) -> CandidateBatch:
        moved = (self._fused + NEW_ROW * self._rng.normal(size=WIDTH).astype(np.float32))[:num_rows]
        probs = self._distributions(num_rows)
        if self.kind == "rising":
            even = np.linspace(start, start + num_rows, num_rows, dtype=np.float32)[:, None] / (
                self.num_rows + BATCH_ROWS
            )
            probs = np.float32(1 / NUM_ANSWERS) * even + (1 - even) * np.eye(NUM_ANSWERS, dtype=np.float32)[0]
        if self.kind == "copies":
            copies = self._rng.random(num_rows) < 0.9
            probs[copies], moved[copies] = 1 / NUM_ANSWERS, 1.0
        return CandidateBatch(
            ids=[f"s{row}" for row in range(start, start + num_rows)],
            domains=self._domains[:num_rows],
            probs=probs,
            fused=moved,
            mc_probs=self._mc_probs[:, :num_rows],
            subset_probs={name: values[:num_rows] for name, values in self._subset_probs.items()},
        )

    def _distributions(self, *shape: int) -> np.ndarray:
        weights = np.exp(2.0 * self._rng.standard_normal((*shape, NUM_ANSWERS), dtype=np.float32))
        return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


class Run(TypedDict):
    """What one selection took, in a process of its own with one thread."""

    selection_s: float
    """CPU seconds of scoring and selecting, without the making of the stream."""
    peak_mb: float
    """Peak resident memory of the process."""


def measure(name: str, num_rows: int, *, kind: str = "mixed", seed: int = 0) -> Run:
    """Select 1,000 out of `num_rows` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.candidate_streams", name, str(num_rows), kind, str(seed)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=one_thread)
    run: Run = json.loads(done.stdout)
    return run


def selection_s(name: str, num_rows: int, *, kind: str = "mixed", seed: int = 0) -> float:
    """CPU seconds of selecting 1,000 rows. Raises `RuntimeError` if the budget is not filled."""
    stream = CandidateStream(num_rows, kind=kind, seed=seed)
    began = time.process_time()
    selection = select(stream, SelectionConfig(acquisition=name, budget=BUDGET, seed=seed))
    spent_s = time.process_time() - began - stream.making_s
    if selection.num_short:
        raise RuntimeError(f"{name} left {selection.num_short} of {BUDGET} rows unfilled on the {kind} stream.")
    return spent_s


def peak_memory_mb() -> float:
    """Peak resident memory of this process since it started."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found.group(1)) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    spent = selection_s(sys.argv[1], int(sys.argv[2]), kind=sys.argv[3], seed=int(sys.argv[4]))
    print(json.dumps(Run(selection_s=spent, peak_mb=peak_memory_mb())))
