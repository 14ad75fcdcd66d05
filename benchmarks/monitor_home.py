"""A home to be watched: a model with two tasks in service, its validation samples labelled, and rules whose time runs
faster than the default ones.

Only durations differ from the default rules. Metrics, bounds, hysteresis, numbers of samples, confidences and
inhibitions are those that come with the program, read from its own file.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import yaml

from benchmarks.monitor_models import Breakable
from benchmarks.serve_home import workspace
from db.repository import releases
from flows.steps.capturing import keep_baseline
from flows.steps.ingesting import add_task, ingest
from monitoring.alerting.reading import DURATIONS, ROUTING, default_text, duration
from omni_model.checkpoint import save
from omni_model.config import ModelConfig, TrainConfig
from omni_model.data import tri_digits
from omni_model.data.splits import split_of
from omni_model.data.writing import write_manifest
from omni_model.sample import Sample, TaskSpec
from omni_model.train import fit

OWN_MODEL = "benchmarks.monitor_models:Breakable"
SPEED = 60.0
"""How much faster the time of the rules runs: a turn of the pulse a second, not a minute."""
MOST_WINDOW_S = 60.0
"""No window is longer; the day over which accuracy is taken would be 24 minutes."""
PARITY = TaskSpec(
    name="parity",
    instructions=("Is the digit even or odd?", "Even or odd?"),
    answers=("even", "odd"),
)
TASKS = (tri_digits.TASK, PARITY)
SHAPE = ModelConfig(width=64, ffn_width=128)
EPOCHS = 30
ODD_TURNS: Mapping[str, str] = {
    "OMNI_PULSE__RULES_S": "1",
    "OMNI_PULSE__PROBE_S": "5",
    "OMNI_PULSE__DELIVER_S": "0.5",
    "OMNI_PULSE__TRIGGERS_S": "86400",
    "OMNI_PULSE__ROUNDS_S": "86400",
    "OMNI_PULSE__SELECTORS_S": "86400",
}
"""The pulse's turns sixty times as often; what would train a version or a selector does not run."""


@dataclass(frozen=True)
class Watched:
    """A folder with a template of the home."""

    folder: Path

    @property
    def rules(self) -> Path:
        """The file of rules."""
        return self.folder / "rules.yaml"

    def build(self, epochs: int = EPOCHS) -> None:
        """Train, put into service, and capture the baseline."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.rules.write_text(accelerated(default_text()), encoding="utf-8")
        train = [row for row in asked(tri_digits.load(["en"])) if split_of(row.item) == "train"]
        torch.manual_seed(0)
        model = Breakable(SHAPE, TASKS)
        fit(model, train, [], TrainConfig(epochs=epochs), seed=0)
        save(model.eval(), self.folder / "checkpoint")
        held_out = [row for row in asked(tri_digits.load(["en"], seed=1)) if split_of(row.item) == "val"]
        with workspace(self.folder / "home", "watched") as ws:
            for task in TASKS:
                add_task(ws, task)
            ingest(ws, write_manifest(held_out, self.folder / "validation"))
            with ws.database.write() as session:
                digest = ws.blobs.put_folder(self.folder / "checkpoint")
                release = releases.create_candidate(
                    session, round_id=None, parent_version=None, digest=digest, now=ws.clock()
                )
                releases.promote(
                    session, release.version, who="benchmark", why="the first", now=ws.clock(), probation=False
                )
            keep_baseline(ws)

    def home(self, name: str) -> Path:
        """A fresh copy."""
        return Path(shutil.copytree(self.folder / "home", self.folder / name))

    def environ(self, home: Path, port: str, more: Mapping[str, str]) -> dict[str, str]:
        """Settings of service and pulse on a home."""
        own = {"OMNI_HOME": str(home), "OMNI_OWN_MODEL": OWN_MODEL, "OMNI_ALERTING__RULES": str(self.rules)}
        return {**own, "OMNI_SERVICE__PORT": port, **ODD_TURNS, **more}


def service_command() -> list[str]:
    """How the live service is started."""
    return [sys.executable, "-m", "flows.service"]


def asked(rows: Iterable[Sample]) -> list[Sample]:
    """Each sample as a question for one of the two tasks in turn."""
    return [row if place % 2 == 0 else as_parity(row, place) for place, row in enumerate(rows)]


def as_parity(row: Sample, place: int = 0) -> Sample:
    """The same sample, asked whether its digit is even."""
    wording = PARITY.instructions[(place // 2) % len(PARITY.instructions)]
    answer = None if row.answer is None else PARITY.answers[int(row.answer) % 2]
    return replace(row, task=PARITY.name, instruction=wording, answer=answer)


def accelerated(text: str, speed: float = SPEED, most_window_s: float = MOST_WINDOW_S) -> str:
    """Rules with every duration shorter, and nothing else changed.

    >>> print(accelerated("rules: [{name: a, for: 2m, window: 1d, limit: 0.1}]"), end="")
    rules:
    - name: a
      for: 2s
      window: 60s
      limit: 0.1
    """
    raw = yaml.safe_load(text)
    for entry in (*raw.get("rules", ()), raw.get("routing", {})):
        for key in entry.keys() & {*DURATIONS, *ROUTING}:
            most_s = most_window_s if key == "window" else float("inf")
            entry[key] = f"{min(duration(entry[key]) / speed, most_s):g}s"
    return yaml.safe_dump(raw, sort_keys=False, allow_unicode=True)


def durations_apart(text: str) -> str:
    """A text of rules without its durations: what two files must have in common.

    >>> durations_apart("for: 2m, limit: 0.1") == durations_apart("for: 2s, limit: 0.1")
    True
    """
    return re.sub(r"\b\d+(\.\d+)?(ms|s|m|h|d|w)\b", "T", text)


def live(num: int, seed: int, *, domains: Sequence[str] = ("en",)) -> list[Sample]:
    """Clean traffic: new renderings in random order, asked for both tasks."""
    streams = [tri_digits.live(name, -(-num // len(domains)), seed=seed) for name in domains]
    return asked(row for turn in zip(*streams, strict=True) for row in turn)[:num]
