"""Write samples out as a manifest with real files, the way a user's data would lie on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

from omni_model.data.codecs import CODECS, Codec
from omni_model.sample import Sample, TaskSpec, dump_task

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
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        (folder / "tasks").mkdir(exist_ok=True)
        dump_task(task, folder / "tasks" / f"{file_stem(task.name)}.yaml")
    part = folder / f"{MANIFEST_NAME}.part"
    with part.open("w", encoding="utf-8") as file:
        for sample in samples:
            file.write(json.dumps(_row(sample, folder, codecs), ensure_ascii=False) + "\n")
    return part.replace(folder / MANIFEST_NAME)


def file_stem(name: str) -> str:
    """A name that every file system takes: unsafe characters quoted, long names hashed.

    >>> file_stem("camera 1/07")
    'camera%201%2F07'
    """
    stem = quote(name, safe="").replace(".", "%2E")
    return stem if len(stem) <= 120 else blake2b(name.encode(), digest_size=16).hexdigest()


def _row(sample: Sample, folder: Path, codecs: Mapping[str, Codec]) -> dict[str, Any]:
    row: dict[str, Any] = {"id": sample.id, "task": sample.task, "instruction": sample.instruction}
    for modality, value in sample.inputs.items():
        codec = codecs[modality]
        path = folder / modality / (file_stem(sample.id) + codec.suffix)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(codec.encode(value))
        row[modality] = {"path": str(path.relative_to(folder))}
    row |= {"answer": sample.answer, "item": sample.item, "source": sample.source, "domain": sample.domain}
    row["time"] = sample.time.isoformat() if sample.time else None
    return {name: value for name, value in row.items() if value not in (None, "")}
