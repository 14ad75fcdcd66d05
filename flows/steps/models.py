"""Models as folders: from a release's digest to a model in memory, and back into the blob store."""

import shutil
from pathlib import Path

from db.records import Release
from db.repository import tasks, versions
from flows.workspace import Workspace
from omni_model.checkpoint import load
from omni_model.model import OmniModel
from omni_model.sample import TaskSpec


def task_specs(ws: Workspace) -> dict[str, TaskSpec]:
    """The tasks of this home by name."""
    with ws.database.read() as session:
        return {
            row.name: TaskSpec(name=row.name, instructions=row.instructions, answers=row.answers)
            for row in tasks.list_tasks(session)
        }


def materialise(ws: Workspace, digest: str) -> Path:
    """The checkpoint with this tree digest as a local folder, fetched from the blob store on first use."""
    folder = ws.home / "cache" / "checkpoints" / digest
    if not folder.exists():
        arriving = folder.with_name(f"{digest}.arriving")
        shutil.rmtree(arriving, ignore_errors=True)
        ws.blobs.get_folder(digest, arriving)
        arriving.rename(folder)
    return folder


def load_release(ws: Workspace, release: Release) -> OmniModel:
    """The model of a release, its base fetched too when only the interaction layers were stored."""
    base = release.base_digest
    return load(materialise(ws, release.digest), base=lambda _: materialise(ws, base) if base else Path())


def load_version(ws: Workspace, version: int) -> OmniModel:
    """The model of version ``version``. Raises ``db.errors.NotFound`` when there is none."""
    with ws.database.read() as session:
        release = versions.get_release(session, version)
    return load_release(ws, release)
