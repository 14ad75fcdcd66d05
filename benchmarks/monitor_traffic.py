"""Clients of the live service: they ask all the time, give feedback, and can be told to change what they send."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.serve_work import body_of
from omni_model.sample import Sample

ANSWERS_OF_PARITY = {"even": "odd", "odd": "even"}


@dataclass(frozen=True, kw_only=True)
class Question:
    """A request, rendered before, and what is right."""

    body: bytes
    right: str

    @staticmethod
    def of(sample: Sample) -> Question:
        """A sample as a question; its answer is what is right."""
        return Question(body=json.dumps(body_of(sample)).encode(), right=sample.answer or "")


@dataclass
class Stream:
    """What is sent now."""

    questions: Sequence[Question]
    flips: bool = False
    """Feedback says something else than what is right."""
    pause_s: float = 0.1
    """That each client waits after an answer."""


@dataclass
class Clients:
    """A number of clients, each with a connection of its own in a thread of its own. Use it as a context."""

    port: int
    stream: Stream
    num: int = 2
    share_told: float = 0.5
    """Of the answers, those that get feedback."""
    seed: int = 0
    times: list[tuple[float, float]] = field(default_factory=list)
    """Of each answer: when it came (wall clock), and the seconds that it took."""
    num_failed: int = 0
    num_told: int = 0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._next = 0
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Clients:
        self._threads = [threading.Thread(target=self._ask, args=(self.seed * 1000 + at,)) for at in range(self.num)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=15)

    def since(self, at: float) -> int:
        """Answers since a moment of the wall clock."""
        return sum(came >= at for came, _ in self.times)

    def _ask(self, seed: int) -> None:
        rng, connection = random.Random(seed), self._connect()
        while not self._stop.is_set():
            with self._lock:
                stream, place = self.stream, self._next
                self._next += 1
            question = stream.questions[place % len(stream.questions)]
            began = time.monotonic()
            try:
                answer = self._post(connection, "/v1/predict", question.body)
                self.times.append((time.time(), time.monotonic() - began))
                if question.right and rng.random() < self.share_told:
                    right = wrong_of(question.right) if stream.flips else question.right
                    told = json.dumps({"prediction": answer["prediction"], "answer": right}).encode()
                    self._post(connection, "/v1/feedback", told)
                    self.num_told += 1
            except (OSError, http.client.HTTPException, RuntimeError):
                self.num_failed += 1
                connection.close()
                connection = self._connect()
                self._stop.wait(0.1)
            self._stop.wait(stream.pause_s * (0.5 + rng.random()))
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def _post(self, connection: http.client.HTTPConnection, path: str, body: bytes) -> Any:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read()
        if response.status not in (200, 201, 202):
            raise RuntimeError(f"{path} gave {response.status}: {content[:300]!r}")
        return json.loads(content) if content else None


def wrong_of(answer: str) -> str:
    """Another answer of the same task.

    >>> wrong_of("9"), wrong_of("even")
    ('0', 'odd')
    """
    return ANSWERS_OF_PARITY.get(answer) or str((int(answer) + 1) % 10)
