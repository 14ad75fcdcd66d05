"""What the builders of benchmark sets share: progress, the record of what was built, and the command line."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from omni_model.data.writing import MANIFEST_NAME
from omni_model.errors import OmniError

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and how many there are (0: not known)."""
RECORD_NAME = "built.json"


class MissingExtraError(OmniError):
    """An optional package is not installed. The message names the command that installs it."""


class Build(Protocol):
    """A builder: fills the folder and returns the path of its manifest; at once if an earlier run completed it."""

    def __call__(self, out: Path, progress: Progress = ..., /) -> Path: ...


@dataclass(frozen=True, kw_only=True)
class Record:
    """Kept beside the manifest as `built.json`."""

    name: str
    versions: dict[str, str]
    """Of the packages that the data came from."""
    num_items: int
    num_rows: int
    skipped: dict[str, str] = field(default_factory=dict)
    """What could not be used, and why."""

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
        (folder / RECORD_NAME).write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> Record | None:
    """What was built in a folder; None if nothing was, or not to the end."""
    path = folder / RECORD_NAME
    if not path.is_file() or not (folder / MANIFEST_NAME).is_file():
        return None
    return Record(**json.loads(path.read_text(encoding="utf-8")))


def discard(step: str, done: int, total: int) -> None:
    """The progress that nobody watches."""


def show(step: str, done: int, total: int) -> None:
    """A line on standard error at the start, at every tenth and at the end."""
    if not total or done * 10 // total != (done - 1) * 10 // total:
        sys.stderr.write(f"{step}: {done:,} of {total:,}\n" if total else f"{step}\n")


def import_extra(module: str) -> Any:
    """An optional package; raises `MissingExtraError` if it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{module} is missing ({error}). Run `pip install 'omniloop[benchmarks]'`.") from error


def main(build: Build, description: str, arguments: Sequence[str] | None = None) -> int:
    """`--out DIR`; tells where the manifest is and what it holds. Returns the exit status."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to fill; kept and reused")
    out: Path = parser.parse_args(arguments).out
    try:
        manifest = build(out, show)
    except OmniError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    record = read_record(out)
    if record is not None:
        counts = f"{record.num_items:,} items, {record.num_rows:,} rows, {len(record.skipped):,} skipped"
        sys.stdout.write(f"{manifest}: {counts}\n")
    return 0
