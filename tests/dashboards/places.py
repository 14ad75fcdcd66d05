"""A site to look at: a real database with some history in it, a clock that stands still, and people of each role."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from sqlalchemy import event
from sqlalchemy.engine import Engine
from starlette.testclient import TestClient

from dashboards.app import create_app
from dashboards.wiring import Wiring
from db.blobs import BlobStore
from db.engine import Database
from db.records.users import ROLES
from db.repository import users

BASE = "http://127.0.0.1:8766"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
OURS = {"Origin": BASE, "Sec-Fetch-Site": "same-origin"}
"""What a browser says of a form on a page of ours."""


@dataclass
class Clock:
    """A clock that goes a millisecond a look, and as far as it is told."""

    now: datetime = START

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def wait(self, **duration: float) -> None:
        """Let time pass."""
        self.now += timedelta(**duration)


@dataclass(frozen=True)
class Place:
    """The application, what is behind it, and ways to look at it."""

    app: FastAPI
    database: Database
    blobs: BlobStore
    clock: Clock
    wiring: Wiring
    queries: list[str] = field(default_factory=list)

    @contextmanager
    def as_(self, role: str | None) -> Iterator[TestClient]:
        """A browser in which somebody of this role has signed in; None: nobody."""
        with TestClient(self.app, base_url=BASE, headers=OURS, follow_redirects=False) as client:
            if role is not None:
                token = f"token of {role}"
                now = self.clock()
                with self.database.write() as session:
                    digest = hashlib.sha256(token.encode()).hexdigest()
                    if users.session_user(session, digest, now=now, idle=timedelta(hours=1)) is None:
                        users.open_session(session, role, digest, expires_at=now + timedelta(days=1), now=now)
                client.cookies.set("omniloop_8766", token)
            yield client

    def num_queries(self, client: TestClient, path: str) -> int:
        """How many statements a page sends, that of its session included."""
        self.queries.clear()
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        return len([text for text in self.queries if text.lstrip().upper().startswith(("SELECT", "WITH"))])


def wiring(home: Path, **changes: Any) -> Wiring:
    """What the pages are told, with nothing around them."""
    told: dict[str, Any] = {
        "home": home,
        "database_url": f"sqlite:///{home / 'omniloop.db'}",
        "blob_url": f"file://{home / 'blobs'}",
        "host": "127.0.0.1",
        "port": 8766,
        "names": (),
        "is_https": False,
        "session_hours": 24.0,
        "idle_hours": 12.0,
        "approver_differs": False,
        "service_url": "",
        "service_key": "",
        "prefect_url": "",
        "prefect_auth": "",
        "mlflow_url": "",
        "evidently_url": "",
        "gate": {},
        "alerting": {},
        "receivers": {"log": "the log"},
        "settings": {},
        "version": "0.1.0",
    }
    return Wiring.model_validate(told | changes)


def made(home: Path, *, people: Sequence[str] = ROLES, **changes: Any) -> Place:
    """A place over a fresh or existing home, with one person of each role, named like it."""
    home.mkdir(parents=True, exist_ok=True)
    told, clock = wiring(home, **changes), Clock()
    database = Database(told.database_url)
    database.upgrade()
    with database.write() as session:
        known = {user.name for user in users.list_users(session)}
        for role in people:
            if role not in known:
                users.add_user(session, role, role, who="tests", now=clock())
    database.close()
    app = create_app(told, clock=clock)
    place = Place(app, app.state.site.database, app.state.site.blobs, clock, told)
    engine: Engine = place.database._engine
    event.listen(engine, "before_cursor_execute", lambda *args: place.queries.append(args[2]))
    return place
