"""A batch of prepared requests to answers, each by the version that it was meant for and that is still there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor

from omni_model.data.errors import DecodeError, RowError
from omni_model.errors import OmniError
from omni_model.serve.cache import FeatureCache, Key
from omni_model.serve.devices import Devices
from omni_model.serve.errors import NotAnswerable, NothingServed
from omni_model.serve.exchange import Answer, Latency, Prepared
from omni_model.serve.preparing import instruction_of, prepare
from omni_model.serve.served import Served, fuse
from omni_model.serve.trial import Gone
from omni_model.serve.versions import Standing, Versions

logger = logging.getLogger(__name__)


class Answering:
    """Computes batches.

    `on_told` hears of each answer to a row that the other version shall answer too, `on_trial_failure` of each request
    that the version on trial failed at and that the version in service has answered instead.
    """

    def __init__(
        self,
        versions: Versions,
        cache: FeatureCache,
        devices: Devices,
        clock: Callable[[], float],
        on_told: Callable[[Prepared, Answer], None],
        on_trial_failure: Callable[[], None],
    ) -> None:
        self._versions, self._cache, self._devices, self._clock = versions, cache, devices, clock
        self._on_told, self._on_trial_failure = on_told, on_trial_failure
        self._tokens_per_step: dict[str, float] = {}

    def __call__(self, batch: Sequence[Prepared]) -> list[Answer]:
        """Answers in order. The versions are read once, as the batch begins."""
        now = self._versions.now
        places: dict[int, list[int]] = {}
        for place, row in enumerate(batch):
            places.setdefault(version_for(now, row).version, []).append(place)
        answers: dict[int, Answer] = {}
        for group in places.values():
            rows = [batch[place] for place in group]
            answers |= zip(group, self._by_one(now, version_for(now, rows[0]), rows), strict=True)
        told = [answers[place] for place in range(len(batch))]
        for row, answer in zip(batch, told, strict=True):
            if row.mirror and answer.version != row.mirror:
                self._on_told(row, answer)
        return told

    def tokens_of(self, row: Prepared) -> int:
        """About how many tokens a request has: known for what is cached, guessed from the last ones for the rest."""
        new = sum(self._tokens_per_step.get(key.block, 1.0) * len(value) for key, value in row.values.items())
        return 1 + round(new) + sum(self._cache.num_tokens(key) for key in row.keys.values() if key not in row.values)

    def _by_one(self, now: Standing, version: Served, rows: Sequence[Prepared]) -> list[Answer]:
        """Answers of one version. One request alone that a version on trial fails at goes to the one in service."""
        try:
            return self._answers(now, version, rows)
        except Exception as error:
            if len(rows) > 1:
                raise  # the batcher halves the batch and comes back
            row, in_service = rows[0], now.in_service
            if row.told is None and in_service is not None and in_service.version != version.version:
                logger.warning("v%d on trial failed at %s: %s", version.version, row.request.id, error)
                answers = self._by_one(now, in_service, [replace(row, target=0, mirror=0)])
                self._on_trial_failure()
                return answers
            if isinstance(error, OmniError | RowError | DecodeError):
                raise
            raise NotAnswerable(error) from error

    def _answers(self, now: Standing, version: Served, asked: Sequence[Prepared]) -> list[Answer]:
        began = self._clock()
        rows = [row if is_ready(row, version) else self._again(version, row) for row in asked]
        wanted = [key for row in rows for key in row.keys.values()]
        tokens = self._cache.fetch(wanted, partial(self._encode, version, rows))
        encoded = self._clock()
        said_BA = fuse(version, [row.keys for row in rows], tokens, [row.request.task for row in rows])
        encode_s, fuse_s = encoded - began, self._clock() - encoded
        generation = version.generation or (now.in_service.generation if now.in_service else 0)
        answers = []
        for row, said_A in zip(rows, said_BA.tolist(), strict=True):
            latency = Latency(
                queue_s=row.queued_s + began - row.ready_at,
                decode_s=row.decode_s,
                encode_s=encode_s,
                fuse_s=fuse_s,
            )
            answers.append(answer_of(version, generation, row, said_A, latency))
        return answers

    def _again(self, version: Served, row: Prepared) -> Prepared:
        """A request that was prepared for another version, prepared for this one."""
        fresh = prepare(version, row.request, self._cache, row.allowance)
        fresh.queued_s, fresh.decode_s, fresh.ready_at = row.queued_s, row.decode_s, row.ready_at
        return fresh

    def _encode(self, version: Served, rows: Sequence[Prepared], missing: Sequence[Key]) -> Mapping[Key, Tensor]:
        """Tokens that the cache lacks; a row whose tokens were dropped since it was prepared is prepared again."""
        values: dict[Key, Tensor] = {key: value for row in rows for key, value in row.values.items()}
        empty = FeatureCache(0, secret=bytes(32))
        for key in missing:
            if key not in values:
                row = next(row for row in rows if key in row.keys.values())
                block = next(name for name, known in row.keys.items() if known == key)
                again = prepare(version, row.request, empty, row.allowance)
                values[key] = again.values[again.keys[block]]
        made = self._devices.encode(version, {key: values[key] for key in missing})
        for key, tokens in made.items():
            self._tokens_per_step[key.block] = tokens.shape[0] / values[key].shape[0]
        return made


def version_for(now: Standing, row: Prepared) -> Served:
    """The version that answers a row. Raises :class:`Gone` for a second answer that nobody can give any more."""
    if row.told is not None:
        other = now.find(row.target)
        if other is None:
            raise Gone
        return other
    if row.target and now.trial is not None and now.trial.served.version == row.target:
        return now.trial.served
    if now.in_service is None:
        raise NothingServed
    return now.in_service


def is_ready(row: Prepared, version: Served) -> bool:
    """Whether a row was prepared as this version wants it: for its encoders, and with its choice of modalities."""
    if row.space != version.space:
        return False
    is_choice_free = row.allowance.budget is None and not row.ignored and row.request.task in version.tasks
    return row.version == version.version or is_choice_free


def answer_of(version: Served, generation: int, row: Prepared, said_A: Sequence[float], latency: Latency) -> Answer:
    """One row's answer out of the probabilities of all answers."""
    probabilities = {answer: said_A[column] for answer, column in version.columns[row.request.task]}
    return Answer(
        id=row.request.id,
        version=version.version,
        generation=generation,
        task=row.request.task,
        instruction=instruction_of(version, row.request),
        answer=max(probabilities, key=probabilities.__getitem__),
        probabilities=probabilities,
        received=tuple(sorted(row.request.content)),
        used=tuple(sorted(name for name in row.request.content if name not in row.ignored)),
        ignored=dict(row.ignored),
        latency=latency,
        budget=None if row.allowance.budget is None else row.allowance.budget.share,
    )
