"""What every page has at hand: the stores, what was set, a clock, and who is looking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from dashboards.wiring import Wiring
from db.blobs import BlobStore
from db.engine import Database
from db.records.users import Role, may


@dataclass(frozen=True, kw_only=True)
class Person:
    """Who asks."""

    name: str
    role: Role

    def may(self, needed: str) -> bool:
        """Whether this person may do what needs the role `needed`."""
        return may(self.role, needed)


@dataclass(frozen=True, kw_only=True)
class Site:
    """The parts behind all pages."""

    wiring: Wiring
    database: Database
    blobs: BlobStore
    clock: Callable[[], datetime]


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One look at a page: a consistent picture of the database, and who looks."""

    site: Site
    session: Session
    """For reading alone."""
    person: Person
    now: datetime
    url: str
    """Path and query of the page, to come back to."""


@dataclass(frozen=True, kw_only=True)
class Deed:
    """Somebody changes something. What is done opens its own `site.database.write()`."""

    site: Site
    person: Person
    now: datetime
    path: Mapping[str, Any]
    """What the path says, such as the version's number."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """What came of a deed: words for the person, and the page to show next."""

    message: str
    to: str = ""
    """A path of ours; empty: where the person came from."""
