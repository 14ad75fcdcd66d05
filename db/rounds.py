"""The life of a round: its steps in order. A pure table; `db.repository.rounds` moves along it."""

from __future__ import annotations

from typing import Literal, get_args

Step = Literal["opened", "filtered", "labelled", "tuned", "registered", "validated", "decided", "closed"]

STEPS: tuple[Step, ...] = get_args(Step)
"""Each name says what is done. A killed round starts again with the step after the one that it reached."""

Role = Literal["selected", "control", "validation", "unlabelled", "arrived", "replay", "base"]

ROLES: tuple[Role, ...] = get_args(Role)
"""Why a sample is in a round: chosen by score, by chance, drawn for validation, drawn to be learnt from unlabelled,
labelled without being asked for, repeated against forgetting, or part of base training."""

TRAINED: tuple[Role, ...] = ("selected", "control", "arrived", "base")
"""Roles in which a round's model learns a sample anew. Replayed ones were learnt before; validation ones never are."""

BATCH: tuple[Role, ...] = ("selected", "control", "arrived")
"""Roles that make up the batch of data behind a tuned version, which is set aside when the version is blamed. Base
training has no such batch: it learns from all there is."""

LEARNT: tuple[Role, ...] = (*TRAINED, "replay", "unlabelled")
"""Roles in which a sample goes into the weights at all."""


def step_after(step: Step) -> Step | None:
    """The step to do next; None once the round is closed.

    >>> step_after("opened"), step_after("closed")
    ('filtered', None)
    """
    index = STEPS.index(step) + 1
    return STEPS[index] if index < len(STEPS) else None


def is_forward(old: Step, new: Step) -> bool:
    """Whether `new` lies after `old`. Steps may be skipped (base training filters nothing), never repeated.

    >>> is_forward("opened", "tuned"), is_forward("tuned", "filtered"), is_forward("tuned", "tuned")
    (True, False, False)
    """
    return STEPS.index(new) > STEPS.index(old)
