"""The home: the one folder that holds everything written, and the lock that keeps a second process out of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from flows.errors import HomeError

__all__ = ["HomeError", "exclusive", "held_by", "prepare"]


def prepare(home: Path) -> Path:
    """Create ``home`` if needed and prove that it can be written. Raises :class:`HomeError`."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".probe"
        probe.write_bytes(b"omniloop")
        probe.unlink()
    except OSError as error:
        raise HomeError(
            f"The home {home} cannot be written: {error.strerror}. "
            "Free some space, mend its permissions, or point OMNI_HOME to another folder."
        ) from error
    return home


@contextmanager
def exclusive(home: Path, purpose: str) -> Iterator[None]:
    """Hold the home's lock for ``purpose`` ("a round", "the supervisor").

    Raises :class:`HomeError` when another process has it.

    The lock is the kernel's: it frees itself when its holder dies, however it dies.
    """
    name = purpose.replace(" ", "-")
    lock, holder = FileLock(home / f"{name}.lock"), home / f"{name}.holder"
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        who = holder.read_text().strip() if holder.exists() else "unknown"
        raise HomeError(
            f"Another process (pid {who}) holds {purpose} in {home}. "
            "Wait until it ends, stop it, or give this one a home of its own with OMNI_HOME."
        ) from error
    try:
        holder.write_text(str(os.getpid()))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def held_by(home: Path, purpose: str) -> int | None:
    """The process that holds the home's lock for ``purpose``; None if nobody does."""
    name = purpose.replace(" ", "-")
    try:
        pid = int((home / f"{name}.holder").read_text())
    except (FileNotFoundError, ValueError):
        return None
    if not psutil.pid_exists(pid):
        return None
    lock = FileLock(home / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return pid
    lock.release()
    return None
