"""A light installation, played in an interpreter of its own: what the extra `loop` brings cannot be imported."""

import os
import subprocess
import sys
from pathlib import Path

from flows.cli.common import OF_THE_LOOP

ROOT = Path(__file__).parents[3]
BLOCKER = f"""
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {set(OF_THE_LOOP)!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


def environment(folder: Path) -> dict[str, str]:
    """The environment of a light interpreter; ``sitecustomize`` in ``folder`` hides the libraries."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(BLOCKER)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMNI_", "COV_"))}
    return {**kept, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "OMP_NUM_THREADS": "1"}


def omniloop(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the light installation."""
    command = [sys.executable, "-c", "from flows.cli import main; main()", *arguments]
    return subprocess.run(
        command, env=environment(folder), cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
