"""The life of a release: which state may follow which. A pure table; `db.repository.releases` moves along it.

    candidate ──► rejected
        │  └────► awaiting_approval ──► rejected
        │                 │
        ├─────────────────┤
        ▼                 ▼
    probation ──► accepted ──► rolled_back
        └─────────────────────────▲

`accepted` means: was in service and has never been taken back. A version stays accepted after its successor is.
A candidate goes straight to `accepted` only when it is promoted without probation (the very first always is).
"""

from __future__ import annotations

from typing import Literal, get_args

State = Literal["candidate", "rejected", "awaiting_approval", "probation", "accepted", "rolled_back"]

STATES: tuple[State, ...] = get_args(State)

MOVES: dict[State, tuple[State, ...]] = {
    "candidate": ("rejected", "awaiting_approval", "probation", "accepted"),
    "awaiting_approval": ("rejected", "probation", "accepted"),
    "probation": ("accepted", "rolled_back"),
    "accepted": ("rolled_back",),
    "rejected": (),
    "rolled_back": (),
}

SERVABLE: frozenset[State] = frozenset({"probation", "accepted"})
"""States in which a version may be in service."""

BLAMED: frozenset[State] = frozenset({"rejected", "rolled_back"})
"""States that quarantine the round which made the version, and its labels."""


def is_allowed(old: State, new: State) -> bool:
    """Whether a release in `old` may become `new`.

    >>> is_allowed("candidate", "probation"), is_allowed("rejected", "probation")
    (True, False)
    """
    return new in MOVES[old]


def describe_moves(state: State) -> str:
    """The moves out of a state in words, for messages.

    >>> describe_moves("probation")
    'accepted or rolled_back'
    >>> describe_moves("rejected")
    'none, it is final'
    """
    return " or ".join(MOVES[state]) or "none, it is final"
