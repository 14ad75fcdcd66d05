"""The composition root: one object with everything a step needs, opened from the settings.

Steps take a :class:`Workspace` and never look for a database, a blob store or a clock by themselves.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from db.blobs import BlobStore
from db.engine import Database
from flows.home import prepare
from flows.reporter import LogReporter, Reporter
from flows.settings import Settings

if TYPE_CHECKING:
    from flows.registry import Registry

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Workspace:
    """Settings, the stores behind them, a clock, and someone to tell."""

    settings: Settings
    database: Database
    blobs: BlobStore
    reporter: Reporter
    clock: Clock = utc_now

    @cached_property
    def registry(self) -> "Registry":
        """MLflow, imported on first use because that takes seconds. Its store is made by one process at a time."""
        from flows.registry import Registry

        with FileLock(self.home / "mlflow.lock"):
            return Registry(self.settings.mlflow_uri, self.settings.registered_model, self.home / "mlartifacts")

    @property
    def home(self) -> Path:
        """The folder that holds everything written."""
        return self.settings.home

    def round_folder(self, round_id: int) -> Path:
        """Scratch space of one round: checkpoints to resume from, and the model before it is stored."""
        return self.home / "rounds" / str(round_id)

    def with_(self, **changes: object) -> "Workspace":
        """The same workspace with other parts, such as another reporter or clock."""
        return replace(self, **changes)  # type: ignore[arg-type]


def open_workspace(settings: Settings | None = None, reporter: Reporter | None = None) -> Workspace:
    """Open (and on first use create) the home, its database and its blob store."""
    settings = settings or Settings.load()
    prepare(settings.home)
    database = Database(settings.database_url)
    database.upgrade()
    return Workspace(
        settings=settings,
        database=database,
        blobs=BlobStore(settings.blob_url),
        reporter=reporter or LogReporter(logging.getLogger("omniloop")),
    )


_current: ContextVar[Workspace | None] = ContextVar("workspace", default=None)


@contextmanager
def use(workspace: Workspace) -> Iterator[Workspace]:
    """Let flows started in this block work in ``workspace`` instead of opening one from the environment."""
    token = _current.set(workspace)
    try:
        yield workspace
    finally:
        _current.reset(token)


@contextmanager
def current() -> Iterator[Workspace]:
    """The workspace that a flow works in: the caller's, or one opened from the environment and closed again."""
    workspace = _current.get()
    if workspace is not None:
        yield workspace
        return
    opened = open_workspace()
    try:
        yield opened
    finally:
        opened.database.close()
