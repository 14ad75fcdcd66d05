"""The check of a version before it serves: golden requests by the way of traffic and by `predict` must agree."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from omni_model.evaluate import predict
from omni_model.serve.cache import FeatureCache
from omni_model.serve.exchange import Request
from omni_model.serve.preparing import prepare, whole
from omni_model.serve.served import Served, encode, fuse

logger = logging.getLogger(__name__)

TOLERANCE = 1e-3
"""How far the probabilities of the batched path and of `predict` may lie apart: rounding of another order of sums."""


def check(version: Served, golden: Sequence[Request], place: Callable[[], None] = lambda: None) -> None:
    """Let a version answer golden requests by `predict`, and, once placed, by the way of traffic; also its warm-up.

    Raises `ValueError` for an answer that is no probability, or when the two ways disagree. A golden request that the
    model cannot take (another task, other modalities) says nothing and is left out. No selector is asked.
    """
    cache = FeatureCache(0, secret=bytes(32))
    version = replace(version, selector=None)
    rows = [prepare(version, Request(id=f"canary-{name}", task=name), cache) for name in version.tasks]
    for request in golden:
        try:
            rows.append(prepare(version, request, cache))
        except ValueError as error:
            logger.info("%s is no golden input for v%d: %s", request.id, version.version, error)
    judged_BA = predict(version.model, [whole(version, row) for row in rows]).probs
    place()
    tokens = encode(version, {key: value for row in rows for key, value in row.values.items()})
    names = [row.request.task for row in rows]
    said_BA = fuse(version, [row.keys for row in rows], tokens, names)
    for row, probabilities in zip(rows, said_BA, strict=True):
        if not (abs(float(probabilities.sum()) - 1) < TOLERANCE and (probabilities >= 0).all()):
            raise ValueError(f"Its answer to {row.request.id} is no probability: {probabilities.tolist()}.")
    apart = float(abs(said_BA - judged_BA).max())
    if not apart <= TOLERANCE:
        raise ValueError(f"Its answers in service differ from those it was judged by: by {apart:g} at most.")
