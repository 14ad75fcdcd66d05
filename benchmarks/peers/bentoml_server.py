"""BentoML: `bentoml serve benchmarks.peers.bentoml_server:Answering`."""

from typing import Any

import bentoml

from benchmarks.serve_work import BATCH_ROWS, work

LATENCY_MS = 60_000
"""Bound of its own on a request's time in the queue; what would take longer is refused."""


@bentoml.service(workers=1, traffic={"timeout": 60}, metrics={"enabled": False})
class Answering:
    """Bodies in, answers out."""

    def __init__(self) -> None:
        self.work = work()

    @bentoml.api(batchable=True, max_batch_size=BATCH_ROWS, max_latency_ms=LATENCY_MS)  # type: ignore[untyped-decorator]
    def predict(self, samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A batch of bodies to answers."""
        return self.work.answer_bodies(samples)
