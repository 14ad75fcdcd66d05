"""Results of single runs, kept by (part, contender, seed, settings), so that a measurement that was stopped goes on.

They lie in ``~/.cache/omniloop/science`` (``XDG_CACHE_HOME`` moves it), one JSON file a part, replaced whole. With
``SCIENCE_MINUTES`` set, no run is started after so many minutes; tables then show the seeds that there are.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_BEGAN = time.monotonic()


class OutOfTime(Exception):
    """A run is not there yet, and none is started any more."""


def folder() -> Path:
    """Where the runs are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omniloop" / "science"


class RunCache:
    """The runs of one part. ``settings`` are all that a run depends on beside its key: other ones find nothing."""

    def __init__(self, part: str, settings: Mapping[str, Any], root: Path | None = None) -> None:
        text = json.dumps(settings, sort_keys=True, default=str)
        self._digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
        self._path = (root or folder()) / f"{part}-{self._digest}.json"

    def get(self, key: str, run: Callable[[], Any]) -> Any:
        """What ``run`` gave under this key, now or before; it must be JSON-able. Raises :class:`OutOfTime`.

        >>> import tempfile
        >>> cache = RunCache("doc", {"size": 1}, Path(tempfile.mkdtemp()))
        >>> cache.get("a", lambda: 1), cache.get("a", lambda: 2)
        (1, 1)
        """
        known = self._read()
        if key not in known:
            minutes = os.environ.get("SCIENCE_MINUTES")
            if minutes is not None and time.monotonic() - _BEGAN > 60 * float(minutes):
                raise OutOfTime(f"{key} is not measured yet, and SCIENCE_MINUTES={minutes} are over.")
            known = self._read() | {key: run()}
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_suffix(".partial")
            partial.write_text(json.dumps(known, allow_nan=False), encoding="utf-8")
            partial.replace(self._path)
        return known[key]

    def _read(self) -> dict[str, Any]:
        if not self._path.exists():
            return {}
        found: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        return found
