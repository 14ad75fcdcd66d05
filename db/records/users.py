"""Records of the people who use the pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

Role = Literal["viewer", "labeller", "operator", "approver", "admin"]
"""What somebody may do; each role may also do what those before it may."""

ROLES: tuple[Role, ...] = get_args(Role)


def may(role: str, needed: str) -> bool:
    """Whether somebody with `role` may do what needs the role `needed`. What is no role may nothing.

    >>> may("approver", "operator"), may("operator", "approver"), may("guest", "viewer")
    (True, False, False)
    """
    return role in ROLES and needed in ROLES and ROLES.index(role) >= ROLES.index(needed)


@dataclass(frozen=True, kw_only=True)
class User:
    """Somebody who may sign in."""

    name: str
    role: Role
    password: str | None
    """The hash of the password; None: there is none, and only links let this person in."""
    created_at: datetime
    created_by: str
    disabled_at: datetime | None
    """When this person was shut out."""


@dataclass(frozen=True, kw_only=True)
class WebSession:
    """A browser in which somebody has signed in."""

    digest: str
    user: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    ended_at: datetime | None
