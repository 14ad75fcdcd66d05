"""Made candidate streams for the tests of selection."""

from collections.abc import Iterator

import numpy as np

from omni_model.acquisition.candidates import CandidateBatch, FloatArray

NUM_ANSWERS, WIDTH, NUM_PASSES = 5, 6, 3
DOMAINS = ("en", "fr", "it")
SUBSETS = ("image", "audio", "image+audio")


def distributions(shape: tuple[int, ...], rng: np.random.Generator) -> FloatArray:
    """Answer distributions of that shape, from nearly sure to nearly uniform, float32."""
    logits = rng.normal(scale=3.0, size=(*shape, NUM_ANSWERS))
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), dtype=np.float32)


def make_batch(num_rows: int, *, seed: int = 0, num_directions: int | None = None) -> CandidateBatch:
    """`num_rows` candidates; with `num_directions` their embeddings are copies of that many vectors."""
    rng = np.random.default_rng(seed)
    fused = rng.normal(size=(num_rows, WIDTH)).astype(np.float32)
    if num_directions is not None:
        fused = rng.normal(size=(num_directions, WIDTH)).astype(np.float32)[rng.integers(num_directions, size=num_rows)]
    return CandidateBatch(
        ids=[f"s{row:05d}" for row in range(num_rows)],
        domains=[DOMAINS[k] for k in rng.integers(len(DOMAINS), size=num_rows)],
        probs=distributions((num_rows,), rng),
        fused=fused,
        mc_probs=distributions((NUM_PASSES, num_rows), rng),
        subset_probs={name: distributions((num_rows,), rng) for name in SUBSETS},
    )


def cut(batch: CandidateBatch, sizes: list[int]) -> Iterator[CandidateBatch]:
    """The same rows as several batches: of the given sizes, then what is left."""
    start = 0
    for size in [*sizes, len(batch)]:
        stop = min(start + size, len(batch))
        yield batch.take(np.arange(start, stop))
        start = stop
