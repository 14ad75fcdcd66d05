"""A light installation: the command line answers, the edge's own commands work, the rest says what is missing."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from flows.cli.common import OF_THE_LOOP
from tests.flows.edge.light import ROOT, environment, omniloop

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_help_needs_nothing_of_the_loop(tmp_path: Path) -> None:
    done = omniloop(tmp_path, "--help")
    assert done.returncode == 0, done.stderr
    assert "edge" in done.stdout


@pytest.mark.parametrize("command", [["models", "list"], ["train"], ["doctor"]])
def test_a_command_of_the_loop_says_which_extra_it_needs(command: list[str], tmp_path: Path) -> None:
    done = omniloop(tmp_path, *command)
    assert done.returncode == 1, done.stdout
    assert "light installation" in done.stderr
    assert "omniloop[loop]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_names_that_are_missing_are_those_of_the_extra() -> None:
    imported_as = {
        "argon2-cffi": "argon2",
        "cron-descriptor": "cron_descriptor",
        "nvidia-ml-py": "pynvml",
        "scikit-learn": "sklearn",
    }
    extra = {Requirement(text).name for text in PROJECT["optional-dependencies"]["loop"]}
    extra = {name for name in extra if not name.startswith("opentelemetry-")}  # FastAPI brings a part of that package
    assert {imported_as.get(name, name) for name in extra} == OF_THE_LOOP
    assert not OF_THE_LOOP & {Requirement(text).name for text in PROJECT["dependencies"]}


def test_the_edge_serves_without_the_loop(tmp_path: Path) -> None:
    script = "import flows.edge.app, flows.edge.running, flows.cli.edge, omni_model.model, omni_model.data.codecs"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
