"""The state of a training that is under way: one safetensors file, replaced in one step, never pickle.

Randomness needs no storing: every epoch draws from a generator seeded by (seed, epoch), so a resumed epoch draws alike.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from omni_model.errors import CheckpointError

FILE = "training.safetensors"


def write_state(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able facts; a kill at any point leaves the old file or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = save(whole, metadata={"facts": json.dumps(facts)})
    partial = folder / f"{FILE}.partial"
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / FILE)


def read_state(folder: Path, *, run: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and facts of an unfinished training, or None if there is none.

    Raises `CheckpointError` if the file is damaged or belongs to another training than `run`.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["facts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Delete it; the training starts anew.") from error
    if facts.get("run") != run:
        raise CheckpointError(
            f"{path} belongs to another training (other model, data, settings or seed). "
            "Give each training a folder of its own, or delete the file."
        )
    return tensors, facts
