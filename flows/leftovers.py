"""Which process groups a supervisor has started, on disk, so that the next one can end what a killed one left.

A process is known by its id and its time of birth together: ids are used again, and nothing of another's may be ended.
"""

import json
import logging
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil

logger = logging.getLogger(__name__)


def note(folder: Path, name: str, pid: int) -> None:
    """Remember that ``name`` runs as the process group ``pid``."""
    with suppress(psutil.NoSuchProcess):
        _write(folder, {**_read(folder), name: [pid, psutil.Process(pid).create_time()]})


def forget(folder: Path, name: str) -> None:
    """``name`` runs no more."""
    _write(folder, {key: value for key, value in _read(folder).items() if key != name})


def sweep(folder: Path) -> list[str]:
    """End the groups that are remembered and still run; returns their names."""
    ended = []
    for name, (pid, born) in _read(folder).items():
        with suppress(psutil.NoSuchProcess):
            if abs(psutil.Process(int(pid)).create_time() - born) < 1:
                end_group(int(pid), 5.0)
                ended.append(name)
    _write(folder, {})
    return ended


def end_group(pid: int, grace_s: float) -> None:
    """End the process group that ``pid`` leads: SIGTERM, then after ``grace_s`` (0: at once) SIGKILL for the rest."""
    if grace_s > 0 and _send(pid, signal.SIGTERM):
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and _alive(pid):
            time.sleep(0.05)
    _send(pid, signal.SIGKILL)


def _send(group: int, number: signal.Signals) -> bool:
    """Signal the whole group; False if there is none."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS says "not permitted" of a group of zombies
        return False
    return True


def _alive(pid: int) -> bool:
    """Does the group's leader still run? A zombie does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _read(folder: Path) -> dict[str, list[float]]:
    try:
        content = json.loads((folder / "processes.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(folder: Path, content: dict[str, list[float]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "processes.tmp"
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(folder / "processes.json")
