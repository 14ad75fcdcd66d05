"""The work that every server of the comparison does: bytes in, decode, prepare, encode, forward, answer out.

Peers import this file in environments of their own, so it needs `omni_model` and nothing of ours beside it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import benchmarks.serve_models  # noqa: F401  its models become loadable
from omni_model.checkpoint import load
from omni_model.data.codecs import CODECS
from omni_model.evaluate import answer_probabilities
from omni_model.features import Batcher, encode_samples
from omni_model.sample import Sample

BATCH_ROWS = 32
MODEL = "BENCH_MODEL"
"""Environment variable that names the checkpoint's folder to a peer."""


def body_of(sample: Sample) -> dict[str, Any]:
    """A sample as the JSON that every server is sent: text as it is, everything else in base64."""
    inputs: dict[str, Any] = {}
    for name, value in sample.inputs.items():
        data = CODECS[name].encode(value)
        inputs[name] = data.decode() if name == "text" else {"base64": base64.b64encode(data).decode()}
    return {"task": sample.task, "inputs": inputs, "instruction": sample.instruction, "domain": sample.domain}


def content_of(body: Mapping[str, Any]) -> dict[str, bytes]:
    """The encoded bytes of a body's inputs."""
    return {
        name: value.encode() if isinstance(value, str) else base64.b64decode(value["base64"])
        for name, value in body["inputs"].items()
    }


class Work:
    """A checkpoint and what a server does with it."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.model = load(folder)
        self.allowed = self.model.answer_masks()

    def sample_of(self, body: Mapping[str, Any], content: Mapping[str, bytes] | None = None) -> Sample:
        """Decoded; `content` are the body's bytes where they were told apart before."""
        found = content_of(body) if content is None else content
        return Sample(
            id="asked",
            task=body["task"],
            instruction=body.get("instruction") or self.model.tasks[0].instructions[0],
            inputs={name: CODECS[name].decode(data) for name, data in found.items()},
        )

    @torch.no_grad()
    def answer(self, samples: Sequence[Sample]) -> Iterator[dict[str, Any]]:
        """Answers in order, computed in batches of at most 32."""
        answers = self.model.answers
        for start in range(0, len(samples), BATCH_ROWS):
            rows = encode_samples(self.model, samples[start : start + BATCH_ROWS], batch_rows=BATCH_ROWS)
            batcher = Batcher(self.model, rows)
            for batch in batcher.all(BATCH_ROWS):
                logits = self.model(batch).logits
                said_BA = answer_probabilities(logits, self.allowed[batch.task], self.model.temperature)
                for said_A in said_BA.tolist():
                    probabilities = dict(zip(answers, said_A, strict=True))
                    best = max(probabilities, key=probabilities.__getitem__)
                    yield {"answer": best, "probability": probabilities[best], "probabilities": probabilities}

    def answer_bodies(self, bodies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The whole work of a batch of requests."""
        return list(self.answer([self.sample_of(body) for body in bodies]))

    def answer_texts(self, texts: Sequence[str]) -> list[str]:
        """The same from JSON to JSON, for servers whose requests carry strings."""
        return [json.dumps(said) for said in self.answer_bodies([json.loads(text) for text in texts])]


def work() -> Work:
    """The work that the environment names."""
    return Work(Path(os.environ[MODEL]))
