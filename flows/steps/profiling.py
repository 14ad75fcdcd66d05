"""What a tuning moves and for how long, if it has a time budget: chosen once for a training, kept beside what it
resumes from, so that a killed training goes on with the choice that it began with.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from db.files import replacing
from flows.workspace import Workspace
from omni_model.config import ElasticConfig
from omni_model.errors import CheckpointError
from omni_model.features import FeatureSet
from omni_model.micro_profile import micro_profile
from omni_model.protocol import LoopModel

FILE = "profile.json"


def within_budget(
    ws: Workspace,
    place: Path,
    model: LoopModel,
    sets: tuple[FeatureSet, FeatureSet, FeatureSet],
    config: ElasticConfig,
    seed: int,
) -> tuple[ElasticConfig, dict[str, Any] | None]:
    """The settings to tune with, and what they were chosen from; as they are and None without a budget.

    ``sets`` are the new rows, those replayed and the validation rows; ``place`` is the training's folder.
    """
    if config.profile.budget_seconds is None:
        return config, None
    path = place / FILE
    if path.exists():
        found = _kept(path)
    else:
        found = asdict(micro_profile(model, *sets, config, seed=seed))
        with replacing(path) as file:
            file.write(json.dumps(found).encode())
    moving = tuple(found["moving"])
    ws.reporter.say(
        f"profile     {', '.join(moving)} for {found['epochs']} epochs, from {len(found['trials'])} trials in "
        f"{found['seconds']:.1f} s" + ("" if found["fits"] else "; nothing fits in the budget, so the cheapest")
    )
    return replace(config, only=moving, epochs=found["epochs"]), found


def _kept(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} cannot be read: {error}. Delete it; the choice is made anew.") from error
    return found
