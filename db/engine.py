"""`Database`: the one way in. Reading and writing are two doors, and only the writing one commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session, sessionmaker

from db import migrate
from db.connect import in_mode, make_engine, normalise
from db.translate import DRIVER_ERRORS, translate


def discard(_moment: str) -> None:
    """The hook that does nothing."""


class Database:
    """The memory of the loop at a URL. Safe to share between threads; make a new one in a forked process.

    `on_commit` is called with "before" and "after" around every commit of a write, inside the writing thread. If
    "before" raises, nothing is written.
    """

    def __init__(self, url: str, *, on_commit: Callable[[str], None] = discard, busy_timeout_s: float = 30.0) -> None:
        self._url = normalise(url)
        self._busy_timeout_s = busy_timeout_s
        self._on_commit = on_commit
        self._engine = make_engine(self._url, busy_timeout_s=busy_timeout_s)
        self._readers = sessionmaker(in_mode(self._engine, "read"), expire_on_commit=False)
        self._writers = sessionmaker(in_mode(self._engine, "write"), expire_on_commit=False)

    @property
    def url(self) -> str:
        """The URL without its password."""
        return self._url.render_as_string(hide_password=True)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session on one consistent picture of the database. It cannot write."""
        with self._translated("read"), self._readers() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits at the end of the block, or leaves nothing behind if the block raises."""
        with self._translated("write"), self._writers() as session:
            session.connection()  # takes SQLite's write lock now rather than halfway through
            yield session
            session.flush()
            self._on_commit("before")
            session.commit()
            self._on_commit("after")

    def upgrade(self) -> None:
        """Bring the tables up to this code, all or nothing. Of two processes at once, the second finds it done."""
        with self._translated("write"):
            migrate.upgrade(self._url, busy_timeout_s=self._busy_timeout_s)

    def check(self) -> None:
        """Raise `DatabaseUnavailable` or `SchemaMismatch`, with the mend, unless this code can use the database."""
        with self._translated("read"):
            migrate.check(self._engine)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    @contextmanager
    def _translated(self, mode: str) -> Iterator[None]:
        try:
            yield
        except DRIVER_ERRORS as error:
            better = translate(error, url=self.url, mode=mode)
            if better is None:
                raise
            raise better from error
