"""What is served: checkpoints, the bodies that ask for predictions, and homes of the service around them.

One folder holds everything a run makes, and is removed with it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.serve_models import POISON, Free, Poisonable
from benchmarks.serve_process import Recipe
from benchmarks.serve_work import body_of
from db.repository import releases
from flows.reporter import SILENT
from flows.service.config import ServiceConfig
from flows.settings import Settings
from flows.steps.ingesting import add_task
from flows.workspace import Workspace, open_workspace
from omni_model.checkpoint import save
from omni_model.config import ModelConfig, TrainConfig
from omni_model.data import tri_digits
from omni_model.data.splits import split_of
from omni_model.model import OmniModel
from omni_model.train import fit

OWN_MODELS: Mapping[str, str] = {
    "free": "benchmarks.serve_models:Free",
    "poisonable": "benchmarks.serve_models:Poisonable",
    "watched": "benchmarks.monitor_models:Breakable",
}
NO_LOG: Mapping[str, str] = (
    {"OMNI_SERVICE__LOG_SHARE": "0"} if "log_share" in {entry.name for entry in fields(ServiceConfig)} else {}
)
"""Settings under which no answer is logged; empty where every answer is."""
SEED = 0
EPOCHS = 8


@dataclass(frozen=True)
class Bench:
    """The folder of one run."""

    folder: Path

    @cached_property
    def model(self) -> OmniModel:
        """A model of the default size after a short training on tri-digits."""
        torch.set_num_threads(1)
        torch.manual_seed(SEED)
        model = OmniModel(ModelConfig(), [tri_digits.TASK])
        train = [row for row in tri_digits.load(["en"]) if split_of(row.item) == "train"]
        fit(model, train, [], TrainConfig(epochs=EPOCHS), seed=SEED)
        return model.eval()

    def checkpoint(self, kind: str = "digits") -> Path:
        """The folder of a saved model: `digits`, `free` or `poisonable`."""
        folder = self.folder / "checkpoints" / kind
        if not folder.exists():
            model: Any = self.model
            if kind == "free":
                model = Free([tri_digits.TASK])
            elif kind == "poisonable":
                model = Poisonable(self.model.config, self.model.tasks)
                model.load_state_dict(self.model.state_dict())
            save(model, folder)
        return folder

    def bodies(self, num: int) -> Path:
        """So many tri-digits samples, one a line as JSON, with parts missing as in the set. None comes twice: pictures
        and recordings are rendered anew; words and instructions come again, as they do in life.
        """
        domains = tri_digits.DOMAINS
        streams = [tri_digits.live(name, -(-num // len(domains)), seed=SEED) for name in domains]
        rows = (body_of(row) for turn in zip(*streams, strict=True) for row in turn)
        return self.write(f"bodies-{num}", islice(rows, num))

    def words(self, num: int) -> Path:
        """So many requests of one short text, for what costs nothing to compute."""
        rng = np.random.default_rng(SEED)
        texts = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 8)) for _ in range(num)]
        return self.write(f"words-{num}", ({"task": "digit", "inputs": {"text": text}} for text in texts))

    def poison(self) -> dict[str, Any]:
        """The request that breaks a batch."""
        return {"task": "digit", "inputs": {"text": POISON}}

    def write(self, name: str, rows: Iterable[Any]) -> Path:
        """Rows as JSON lines, once."""
        path = self.folder / f"{name}.jsonl"
        if not path.exists():
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    def wrapped(self, bodies: Path, server: str, wrap: Callable[[str], str]) -> Path:
        """The same bodies in the form that a server takes."""
        path = bodies.with_name(f"{bodies.stem}.{server}.jsonl")
        if not path.exists():
            path.write_text("".join(wrap(line) + "\n" for line in bodies.read_text().splitlines()), encoding="utf-8")
        return path

    def home(self, kind: str = "digits") -> Path:
        """A fresh home with a checkpoint in service."""
        template = self.folder / "homes" / kind
        if not template.exists():
            with workspace(template, kind) as ws:
                add_task(ws, tri_digits.TASK)
                version = candidate(ws, self.checkpoint(kind), parent=None)
                with ws.database.write() as session:
                    releases.promote(
                        session, version, who="benchmark", why="the first one", now=ws.clock(), probation=False
                    )
        number = len(list((self.folder / "homes").iterdir()))
        return Path(shutil.copytree(template, self.folder / "homes" / f"{kind}-{number}"))

    def ours(self, kind: str = "digits", *, name: str = "ours", settings: Mapping[str, str] = NO_LOG) -> Recipe:
        """How our service is started on a fresh home."""
        return Recipe(
            name=name,
            command=[sys.executable, "-m", "flows.service"],
            path="/v1/predict",
            environ={**environment(self.home(kind), kind), "OMNI_SERVICE__PORT": "{port}", **settings},
        )


def environment(home: Path, kind: str) -> dict[str, str]:
    """Our settings for a home that holds a model of this kind."""
    own = {"OMNI_OWN_MODEL": OWN_MODELS[kind]} if kind in OWN_MODELS else {}
    return {"OMNI_HOME": str(home), **own}


@contextmanager
def workspace(home: Path, kind: str = "digits") -> Any:
    """A home, opened in this process, whatever its environment says."""
    for name in [name for name in os.environ if name.startswith("OMNI_")]:
        del os.environ[name]
    own_model = OWN_MODELS.get(kind, "")
    ws = open_workspace(Settings.load(home=home, own_model=own_model), SILENT)
    try:
        yield ws
    finally:
        ws.database.close()


def candidate(ws: Workspace, checkpoint: Path, *, parent: int | None) -> int:
    """A checkpoint as a candidate version."""
    with ws.database.write() as session:
        release = releases.create_candidate(
            session,
            round_id=None,
            parent_version=parent,
            digest=ws.blobs.put_folder(checkpoint),
            now=ws.clock(),
        )
    return release.version


def moved(model: OmniModel, folder: Path, seeds: Sequence[int]) -> list[Path]:
    """Checkpoints whose interaction layers differ from the model's, as tuned versions do; encoders are the same."""
    made = []
    for seed in seeds:
        rng = torch.Generator().manual_seed(seed)
        state = {name: value.clone() for name, value in model.state_dict().items()}
        changed = OmniModel(model.config, model.tasks)
        changed.load_state_dict(state)
        with torch.no_grad():
            for name, parameter in changed.named_parameters():
                if name.startswith("layers.head"):
                    parameter.add_(0.01 * torch.randn(parameter.shape, generator=rng))
        made.append(folder / f"moved-{seed}")
        save(changed.eval(), made[-1])
    return made
