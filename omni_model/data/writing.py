"""Write samples out as a manifest with real files, the way a user's data would lie on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

from omni_model.data.codecs import CODECS, Codec
from omni_model.sample import Sample, TaskSpec, Value, dump_task

MANIFEST_NAME = "manifest.jsonl"


def write_manifest(
    samples: Iterable[Sample],
    folder: str | Path,
    *,
    tasks: Iterable[TaskSpec] = (),
    codecs: Mapping[str, Codec] = CODECS,
) -> Path:
    """Write `manifest.jsonl`, one file per value below `<modality>/`, and a spec per task below `tasks/`.

    Samples are taken one at a time. The manifest appears under its name only when it is complete; an earlier one in
    the folder is replaced. Returns the path of the manifest.
    """
    with open_manifest(folder, tasks=tasks) as manifest:
        for sample in samples:
            files = {
                modality: {"path": manifest.add_file(codecs[modality], sample.id, value)}
                for modality, value in sample.inputs.items()
            }
            row = {name: getattr(sample, name) for name in ("id", "task", "instruction")}
            row |= files | {name: getattr(sample, name) for name in ("answer", "item", "source", "domain", "time")}
            manifest.add(row)
    return manifest.path


@contextmanager
def open_manifest(folder: str | Path, *, tasks: Iterable[TaskSpec] = ()) -> Iterator[ManifestWriter]:
    """A manifest to add rows to; it gets its name when the block ends without an exception."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        (folder / "tasks").mkdir(exist_ok=True)
        dump_task(task, folder / "tasks" / f"{file_stem(task.name)}.yaml")
    writer = ManifestWriter(folder)
    with writer.part.open("w", encoding="utf-8") as writer.file:
        yield writer
    writer.part.replace(writer.path)


class ManifestWriter:
    """Made by `open_manifest`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / MANIFEST_NAME
        self.part = folder / f"{MANIFEST_NAME}.part"
        self.file: Any = None
        self.num_rows = 0

    def add_file(self, codec: Codec, name: str, value: Value) -> str:
        """Store a value below the folder of its modality; returns its path relative to the manifest."""
        path = self.folder / codec.modality / (file_stem(name) + codec.suffix)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(codec.encode(value))
        return str(path.relative_to(self.folder))

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row; fields that are None or empty are left out."""
        given = {
            name: value for name, value in row.items() if not (value is None or (isinstance(value, str) and not value))
        }
        self.file.write(json.dumps(given, ensure_ascii=False, default=_json) + "\n")
        self.num_rows += 1


def file_stem(name: str) -> str:
    """A name that every file system takes: unsafe characters quoted, long names hashed.

    >>> file_stem("camera 1/07")
    'camera%201%2F07'
    """
    stem = quote(name, safe="").replace(".", "%2E")
    return stem if len(stem) <= 120 else blake2b(name.encode(), digest_size=16).hexdigest()


def _json(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"A manifest row holds text, references and times, got {type(value).__name__}. Convert it first.")
