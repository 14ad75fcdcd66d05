"""Models: which class, and from a release's digest to a model in memory."""

import importlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import torch

from db.records import Release
from db.repository import tasks, versions
from flows.workspace import Workspace
from omni_model.checkpoint import load
from omni_model.protocol import LoopModel
from omni_model.sample import TaskSpec


def model_class(ws: Workspace) -> type[LoopModel]:
    """The class that new models are made of: ours, or the one that ``OMNI_OWN_MODEL`` names as ``module:Class``.

    Importing the module also lets checkpoints of that class be loaded. Raises ``ValueError`` with the mend.
    """
    name = ws.settings.own_model or "omni_model.model:OmniModel"
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"OMNI_OWN_MODEL={name!r} cannot be imported: {error}. Write module:Class, and see that the module is "
            "installed in this environment or that PYTHONPATH names its folder."
        ) from error
    if not (isinstance(found, type) and issubclass(found, LoopModel)):
        raise ValueError(f"OMNI_OWN_MODEL={name!r} is no LoopModel. Derive it from omni_model.protocol.LoopModel.")
    return found


def new_model(ws: Workspace, specs: Sequence[TaskSpec]) -> LoopModel:
    """A fresh model for these tasks, the same one for the same seed; a class of one's own is built from an empty
    description.
    """
    description = {} if ws.settings.own_model else asdict(ws.settings.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(ws.settings.loop.seed)
        return model_class(ws).build(description, specs)


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
        arriving = folder.with_name(f"{digest}.{uuid4().hex}.arriving")
        ws.blobs.get_folder(digest, arriving)
        try:
            arriving.rename(folder)
        except OSError:
            shutil.rmtree(arriving, ignore_errors=True)
            if not folder.exists():  # else another process was faster, with the same bytes
                raise
    return folder


def load_release(ws: Workspace, release: Release) -> LoopModel:
    """The model of a release, its base fetched too when only the interaction layers were stored.

    Tasks and answers that came after it are made known to it, so that it can be asked about them (and be wrong). What
    it has learnt stays as it is.
    """
    model_class(ws)
    base = release.base_digest
    model = load(materialise(ws, release.digest), base=lambda _: materialise(ws, base) if base else Path())
    known = {task.name: task for task in model.tasks}
    for spec in task_specs(ws).values():
        if spec != known.get(spec.name):
            model.add_task(spec)
    return model


def load_version(ws: Workspace, version: int) -> LoopModel:
    """The model of version ``version``. Raises ``db.errors.NotFound`` when there is none."""
    with ws.database.read() as session:
        release = versions.get_release(session, version)
    return load_release(ws, release)
