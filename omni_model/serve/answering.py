"""A batch of prepared requests to answers, each by the version that it was meant for and that is still there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from torch import Tensor

from omni_model.data.errors import DecodeError, RowError
from omni_model.errors import OmniError
from omni_model.msn.choice import has_chains
from omni_model.serve.cache import FeatureCache, Key
from omni_model.serve.devices import Devices
from omni_model.serve.errors import NotAnswerable, NothingServed
from omni_model.serve.exchange import Answer, Latency, Prepared
from omni_model.serve.preparing import further, instruction_of, prepare, read_block, settled
from omni_model.serve.served import Served, fuse
from omni_model.serve.trial import Gone
from omni_model.serve.versions import Standing, Versions

logger = logging.getLogger(__name__)


class Done(NamedTuple):
    """A row whose answer stands."""

    row: Prepared
    said: Sequence[float]
    """Calibrated probabilities of all answers."""
    encode_s: float
    fuse_s: float
    at: float
    """When, by the engine's clock."""


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
        done = self._in_stages(version, rows, began)
        ended = max(each.at for each in done.values())
        generation = version.generation or (now.in_service.generation if now.in_service else 0)
        answers = []
        for place in range(len(rows)):
            each = done[place]
            row = each.row
            latency = Latency(
                queue_s=row.queued_s + began - row.ready_at + ended - each.at,
                decode_s=row.decode_s,
                encode_s=each.encode_s,
                fuse_s=each.fuse_s,
            )
            answers.append(answer_of(version, generation, row, each.said, latency))
        return answers

    def _in_stages(self, version: Served, rows: Sequence[Prepared], began: float) -> dict[int, Done]:
        """Each row by its place, as it is answered: at once, or in stages until its answer is sure.

        Rows of any stage are encoded and fused together; those that are not sure go on with the next modalities.
        """
        done: dict[int, Done] = {}
        going = dict(enumerate(rows))
        tokens: dict[Key, Tensor] = {}
        encode_s = fuse_s = 0.0
        is_staged = any(row.later for row in rows)
        while True:
            wanted = [key for row in going.values() for key in row.keys.values() if key not in tokens]
            tokens |= self._cache.fetch(wanted, partial(self._encode, version, list(going.values())))
            encoded = self._clock()
            asked = list(going.values())
            said_B = _fused(version, asked, tokens, by_blocks=is_staged)
            now = self._clock()
            encode_s, fuse_s = encode_s + encoded - began, fuse_s + now - encoded
            unsure: dict[int, Prepared] = {}
            for (place, row), said_A in zip(going.items(), said_B, strict=True):
                if row.later and _probability(version, row, said_A) < row.later[0].threshold:
                    unsure[place] = row
                else:
                    done[place] = Done(row, said_A, encode_s, fuse_s, now)
            if not unsure:
                return done
            going = self._further(version, unsure, now)
            began = self._clock()

    def _further(self, version: Served, unsure: Mapping[int, Prepared], began: float) -> dict[int, Prepared]:
        """Rows with their next stage decoded; what the decoding of the others took is waiting."""
        rows, starts = dict[int, Prepared](), began
        for place, row in unsure.items():
            rows[place] = further(version, row, self._cache)
            ended = self._clock()
            rows[place].decode_s += ended - starts
            rows[place].queued_s -= ended - starts
            starts = ended
        for row in rows.values():
            row.queued_s += starts - began
        return rows

    def _again(self, version: Served, row: Prepared) -> Prepared:
        """A request that was prepared for another version, prepared for this one."""
        fresh = prepare(version, row.request, self._cache, row.allowance)
        fresh.queued_s, fresh.decode_s, fresh.ready_at = row.queued_s, row.decode_s, row.ready_at
        return fresh

    def _encode(self, version: Served, rows: Sequence[Prepared], missing: Sequence[Key]) -> Mapping[Key, Tensor]:
        """Tokens that the cache lacks; a row whose tokens were dropped since it was prepared is prepared again."""
        values: dict[Key, Tensor] = {key: value for row in rows for key, value in row.values.items()}
        for key in missing:
            if key not in values:
                row = next(row for row in rows if key in row.keys.values())
                block = next(name for name, known in row.keys.items() if known == key)
                values[key] = read_block(version, row.request, block)
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
    if row.version == version.version:
        return True
    is_whole = row.allowance.budget is None and not row.ignored and not row.later
    return is_whole and row.request.task in version.tasks and not has_chains(version.selector)


def _fused(
    version: Served, rows: Sequence[Prepared], tokens: Mapping[Key, Tensor], *, by_blocks: bool
) -> list[Sequence[float]]:
    """Probabilities of all answers by row. By blocks, rows that have little are not padded to what others have."""
    groups: dict[frozenset[str], list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(frozenset(row.keys) if by_blocks else frozenset(), []).append(place)
    said: dict[int, Sequence[float]] = {}
    for places in groups.values():
        some = [rows[place] for place in places]
        said_BA = fuse(version, [row.keys for row in some], tokens, [row.request.task for row in some])
        said |= zip(places, said_BA.tolist(), strict=True)
    return [said[place] for place in range(len(rows))]


def _probability(version: Served, row: Prepared, said_A: Sequence[float]) -> float:
    """Calibrated probability of the row's best answer."""
    return max(said_A[column] for _, column in version.columns[row.request.task])


def answer_of(version: Served, generation: int, row: Prepared, said_A: Sequence[float], latency: Latency) -> Answer:
    """One row's answer out of the probabilities of all answers."""
    probabilities = {answer: said_A[column] for answer, column in version.columns[row.request.task]}
    ignored = settled(row, max(probabilities.values()))
    return Answer(
        id=row.request.id,
        version=version.version,
        generation=generation,
        task=row.request.task,
        instruction=instruction_of(version, row.request),
        answer=max(probabilities, key=probabilities.__getitem__),
        probabilities=probabilities,
        received=tuple(sorted(row.request.content)),
        used=tuple(sorted(name for name in row.request.content if name not in ignored)),
        ignored=dict(ignored),
        latency=latency,
        budget=None if row.allowance.budget is None else row.allowance.budget.share,
    )
