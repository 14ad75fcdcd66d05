"""Files that appear whole or not at all, and survive a power cut."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

ARRIVING = ".incoming-"
"""What names of half-written files begin with."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` at the end of the block, and is removed if the block raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=ARRIVING, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def write_many(files: Iterable[tuple[str, bytes]]) -> None:
    """Write files, each whole under its name or not there, and flush them to the disk together.

    A file of its own costs two flushes, and a flush costs more than all the rest; together they cost one. Until this
    returns, a power cut may leave a file under its name that is empty or too short.
    """
    place = ""
    for path, data in files:
        _write(path, data)
        place = path
    if place:
        _flush_disk(os.path.dirname(place))


def _write(path: str, data: bytes) -> None:
    name = os.path.join(os.path.dirname(path), f"{ARRIVING}{uuid4().hex}")
    try:
        handle = _create(name)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        handle = _create(name)
    try:
        with os.fdopen(handle, "wb", buffering=0) as out:
            written = 0
            while written < len(data):
                written += out.write(memoryview(data)[written:]) or 0
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _create(name: str) -> int:
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _flush_disk(folder: str) -> None:
    """Flush the file system that a folder is on; every file system where only that can be asked for."""
    sync_one = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if sync_one is None:
        os.sync()
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if sync_one(handle) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), folder)
    finally:
        os.close(handle)


def _flush_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
