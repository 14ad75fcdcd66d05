"""LitServe: `python litserve_server.py PORT`."""

import sys
from typing import Any

import litserve

from benchmarks.serve_work import BATCH_ROWS, Work, work

BATCH_TIMEOUT_S = 0.005
"""With 0, its default, it polls and takes most of a core while idle."""


class Answering(litserve.LitAPI):  # type: ignore[misc]
    """Bodies in, answers out."""

    work: Work

    def setup(self, device: str) -> None:
        """Load the model in the worker."""
        self.work = work()

    def decode_request(self, request: dict[str, Any]) -> Any:
        """A body to a sample."""
        return self.work.sample_of(request)

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Samples stay a list."""
        return inputs

    def predict(self, x: list[Any]) -> list[dict[str, Any]]:
        """A batch of samples to answers."""
        return list(self.work.answer(x))

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answers are a list already."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """An answer as it is."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Answering(max_batch_size=BATCH_ROWS, batch_timeout=BATCH_TIMEOUT_S),
        accelerator="cpu",
        workers_per_device=1,
        timeout=60,
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, log_level="warning", generate_client_file=False
    )
