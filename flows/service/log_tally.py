"""How many answers are on their way into the log, kept where a kill does not reach it.

A page of a mapped file holds what was taken and what was settled. The kernel keeps it when the process is killed, so
the next start can say how many answers were lost; writing costs a memory access. What a power cut loses is not told.
"""

from __future__ import annotations

import logging
import mmap
import os
import platform
import re
import struct
from itertools import count
from pathlib import Path

import psutil

logger = logging.getLogger(__name__)

TALLY = struct.Struct("<QQ")
"""Answers taken, answers settled: written, or known and counted as not written."""
SAME_S = 2.0
"""Two births of one process number this close together are one."""
_NUMBERS = count()


class LogTally:
    """The tally of this process, and what those that were killed before it on this machine left behind."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.num_lost = sum(map(left_behind, abandoned(folder)))
        """Answers that killed processes had taken and not written."""
        if self.num_lost:
            logger.warning("%d answers were not logged: the service was killed before", self.num_lost)
        self._path = folder / f"{node()}.{os.getpid()}.{round(born(os.getpid()) or 0)}.{next(_NUMBERS)}.tally"
        self._path.write_bytes(bytes(TALLY.size))
        with self._path.open("r+b") as file:
            self._page: mmap.mmap | None = mmap.mmap(file.fileno(), TALLY.size)
        self._num_taken = self._num_settled = 0

    def take(self) -> None:
        """An answer is on its way."""
        self._num_taken += 1
        self._note()

    def settle(self, num: int) -> None:
        """So many are no longer on their way."""
        self._num_settled += num
        self._note()

    def close(self) -> None:
        """The end in good order: what is lost then was said by whoever lost it."""
        if self._page is not None:
            self._page.close()
            self._page = None
            self._path.unlink(missing_ok=True)

    def _note(self) -> None:
        if self._page is not None:
            TALLY.pack_into(self._page, 0, self._num_taken, self._num_settled)


def node() -> str:
    """This machine's name, without what a file's name cannot hold or ours is split at."""
    return re.sub("[^A-Za-z0-9-]", "_", platform.node())


def born(pid: int) -> float | None:
    """When a process began, in seconds of the epoch; None if there is none."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def abandoned(folder: Path) -> list[Path]:
    """Files of this machine's processes that are no more; a number that was given again is of another process."""
    found = []
    for path in folder.glob(f"{node()}.*.tally"):
        pid, since = (int(part) for part in path.name.split(".")[1:3])
        now = born(pid)
        if now is None or abs(now - since) > SAME_S:
            found.append(path)
    return found


def left_behind(path: Path) -> int:
    """What a killed process had not settled; its file is removed. 0 for a file that is damaged."""
    try:
        num_taken, num_settled = TALLY.unpack(path.read_bytes())
    except (struct.error, FileNotFoundError):
        num_taken = num_settled = 0
    path.unlink(missing_ok=True)
    return max(0, int(num_taken) - int(num_settled))
