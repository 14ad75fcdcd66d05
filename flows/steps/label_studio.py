"""Label Studio's format, in files: what waits goes out with its media inside, what was annotated comes in."""

import json
import mimetypes
from hashlib import blake2b
from pathlib import Path

from db import label_studio
from db.repository import label_import
from db.repository.label_import import Imported
from flows.failpoints import failpoint
from flows.workspace import Workspace
from omni_model.data.codecs import CODECS


def export_tasks(ws: Workspace, out: Path, *, task: str = "") -> int:
    """Write what waits for a label as tasks, and the labelling config beside it as XML; returns how many samples."""
    with ws.database.read() as session:
        spec, waiting = label_import.waiting(session, label_import.first_task(session, task))
    made = [label_studio.task_of(sample, label_studio.embedded(sample, ws.blobs.get, type_of)) for sample, _ in waiting]
    known = sorted({modality for sample, _ in waiting for modality in sample.inputs}) or list(label_studio.TAGS)
    out.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
    out.with_suffix(".xml").write_text(label_studio.config(spec, known), encoding="utf-8")
    return len(made)


def import_annotations(ws: Workspace, file: Path, *, who: str) -> Imported:
    """Store the annotations of Label Studio's JSON export: all, or none with the reason of each row (`ValueError`)."""
    content = file.read_bytes()
    rows = label_studio.read(content)
    with ws.database.write() as session:
        name = blake2b(content, digest_size=6).hexdigest()
        done = label_import.store(session, rows, who=who, name=name, now=ws.clock())
    failpoint("label.committed")
    return done


def type_of(data: bytes, modality: str) -> str:
    """The media type of a modality's bytes, as they are stored.

    >>> type_of(b"", "image")
    'image/png'
    """
    kind, _ = mimetypes.guess_type(f"x{CODECS[modality].suffix}")
    return kind or "application/octet-stream"
