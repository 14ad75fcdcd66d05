"""Records of the clients' keys to the service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

Scope = Literal["predict", "feedback", "operate", "approve", "admin"]
"""What a key may do. `admin` may do everything."""

SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """A key on its way in.

    >>> NewKey(name="app", prefix="1a2b3c4d", digest="00", scopes=("fly",))
    Traceback (most recent call last):
    ValueError: Key app: there is no scope 'fly'. Choose from predict, feedback, operate, approve, admin.
    """

    name: str
    """Unique for good: a revoked key keeps its name."""
    prefix: str
    """The first characters of the key, to know it by."""
    digest: str
    """SHA-256 of the whole key, in hex."""
    scopes: tuple[str, ...]
    detail: Mapping[str, Any] = field(default_factory=dict)
    """`budget`: share of the full cost that each of its answers may have, 0-1."""

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.name.isprintable():
            raise ValueError(f"A key needs a name of printable characters, got {self.name!r}. Name who uses it.")
        if not self.scopes:
            raise ValueError(f"Key {self.name} has no scope. Choose from {', '.join(SCOPES)}.")
        for scope in self.scopes:
            if scope not in SCOPES:
                raise ValueError(f"Key {self.name}: there is no scope {scope!r}. Choose from {', '.join(SCOPES)}.")
        budget = self.detail.get("budget")
        if budget is not None and not 0 <= budget <= 1:
            raise ValueError(f"Key {self.name}: budget must lie in [0, 1], got {budget}. 1 is the full cost.")


@dataclass(frozen=True, kw_only=True)
class StoredKey:
    """A key as it is remembered; the key itself is nowhere."""

    id: int
    name: str
    prefix: str
    digest: str
    scopes: tuple[str, ...]
    detail: Mapping[str, Any]
    created_at: datetime
    created_by: str
    revoked_at: datetime | None
    revoked_by: str | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scopes", tuple(self.scopes))  # JSON has lists alone
