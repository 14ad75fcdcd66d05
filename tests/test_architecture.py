"""The laws of the house, held over the whole tree, and for each a proof that breaking it is noticed."""

import subprocess
import tempfile
from importlib import metadata
from pathlib import Path

import pytest

from tests import laws
from tests.laws import ROOMS, ROOT, Source

FILES = laws.sources()


def broken(violations: list[str]) -> None:
    """Fail with the violations, one a line."""
    assert not violations, "\n" + "\n".join(violations)


# Imports


def test_imports_point_only_as_the_rooms_allow() -> None:
    broken([line for source in FILES for line in laws.imports_of_other_rooms(source)])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("omni_model/x.py", "import db"),
        ("omni_model/x.py", "from monitoring.gate import judge"),
        ("monitoring/x.py", "def f():\n    from db import engine"),
        ("db/x.py", "import importlib\nimportlib.import_module('flows.settings')"),
        ("db/x.py", "__import__('monitoring')"),
        ("dashboards/x.py", "import flows.retrain"),
        ("dashboards/x.py", "import omni_model"),
        ("flows/x.py", "from dashboards import pages"),
        ("flows/x.py", "from tests.fakes import clock"),
        ("flows/x.py", "from benchmarks.harness import figure"),
    ],
)
def test_an_import_of_another_room_is_caught(path: str, text: str) -> None:
    assert laws.imports_of_other_rooms(Source(path, text))


def test_an_import_that_the_table_allows_passes() -> None:
    assert not laws.imports_of_other_rooms(
        Source("flows/x.py", "import db\nfrom omni_model import model\nimport flows.home")
    )


def test_libraries_stay_in_their_one_file_and_out_of_the_leaves() -> None:
    broken([line for source in FILES for line in laws.imports_of_strangers(source)])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("flows/x.py", "import mlflow"),
        ("flows/x.py", "def f():\n    from mlflow.tracking import MlflowClient"),
        ("monitoring/x.py", "import evidently.presets"),
        ("monitoring/x.py", "import apprise"),
        ("omni_model/x.py", "import sqlalchemy.orm"),
        ("db/x.py", "import torch"),
        ("db/x.py", "import pandas"),
        ("monitoring/x.py", "from prefect import flow"),
    ],
)
def test_a_library_out_of_place_is_caught(path: str, text: str) -> None:
    assert laws.imports_of_strangers(Source(path, text))


def test_no_files_import_each_other() -> None:
    broken(laws.cycles(FILES))


@pytest.mark.parametrize(
    "texts",
    [
        {"db/a.py": "import db.b", "db/b.py": "from db import a"},
        {
            "db/a.py": "from db.b import x",
            "db/b.py": "from db.c import y",
            "db/c.py": "def f():\n    from db.a import z",
        },
    ],
)
def test_a_cycle_is_caught_even_through_a_function(texts: dict[str, str]) -> None:
    assert len(laws.cycles([Source(path, text) for path, text in texts.items()])) == 1


def test_an_import_for_types_alone_is_no_cycle() -> None:
    lazy = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from db.a import A"
    assert not laws.cycles([Source("db/a.py", "import db.b"), Source("db/b.py", lazy)])


# What each room may do


def test_leaves_read_no_environment() -> None:
    broken([line for source in FILES for line in laws.reads_of_the_environment(source)])


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos.environ['A']",
        "import os\nos.getenv('A')",
        "from os import environ",
        "from os import getenv as g",
        "from pydantic_settings import BaseSettings",
    ],
)
def test_a_leaf_that_reads_the_environment_is_caught(text: str) -> None:
    assert laws.reads_of_the_environment(Source("monitoring/x.py", text))
    assert not laws.reads_of_the_environment(Source("flows/x.py", text))


def test_only_the_engine_commits() -> None:
    broken([line for source in FILES for line in laws.commits(source)])


def test_a_commit_elsewhere_is_caught() -> None:
    text = "def add(session):\n    session.commit()"
    assert laws.commits(Source("db/repository/samples.py", text))
    assert laws.commits(Source("flows/x.py", text))
    assert not laws.commits(Source("db/engine.py", text))


def test_nothing_is_pickled() -> None:
    broken([line for source in laws.sources((*ROOMS, "benchmarks", "scripts")) for line in laws.pickles(source)])


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.save({}, 'x')",
        "from torch import load",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy as np\nnp.load('x', allow_pickle=flag)",
    ],
)
def test_a_pickle_is_caught(text: str) -> None:
    assert laws.pickles(Source("omni_model/x.py", text))


def test_a_load_that_refuses_pickles_passes() -> None:
    assert not laws.pickles(Source("omni_model/x.py", "import numpy as np\nnp.load('x', allow_pickle=False)"))


# Names


def test_no_file_is_named_like_another_room() -> None:
    broken([line for source in FILES for line in laws.names_of_other_rooms(source)])


@pytest.mark.parametrize(
    "path", ["flows/db.py", "omni_model/monitoring.py", "db/repository/flows.py", "flows/dashboards/x.py"]
)
def test_a_file_named_like_a_room_is_caught(path: str) -> None:
    assert laws.names_of_other_rooms(Source(path, ""))


def test_no_installed_distribution_has_a_package_of_our_name() -> None:
    broken(laws.clashes(metadata.packages_distributions()))


def test_a_distribution_with_our_name_is_caught() -> None:
    assert laws.clashes({"db": ["some-db", "omniloop"]}) == [
        "some-db installs a top-level package 'db', which hides ours. Drop that dependency, or rename the room."
    ]


# Config


def test_importing_a_config_module_loads_nothing_heavy() -> None:
    modules = laws.config_modules(FILES)
    assert modules, "No config module was found; the law would hold for nothing."
    broken(laws.brought_in(modules, ("torch", "mlflow", "prefect", "evidently", "pandas", "sklearn")))


def test_a_config_module_that_loads_something_heavy_is_caught(tmp_path: Path) -> None:
    (tmp_path / "light.py").write_text("import json\n")
    (tmp_path / "heavy.py").write_text("import wave\nclass TrainConfig: ...\n")
    assert laws.config_modules([Source("db/heavy.py", (tmp_path / "heavy.py").read_text())]) == ["db.heavy"]
    found = laws.brought_in(["light", "heavy"], ["wave"], tmp_path)
    assert found == ["heavy: importing it loads wave. Import wave where it is used."]


# The tree


def tracked() -> list[Path]:
    """The text files that belong to the repository."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    suffixes = {
        ".py",
        ".md",
        ".toml",
        ".yml",
        ".yaml",
        ".json",
        ".txt",
        ".lock",
        ".ini",
        ".mako",
        ".html",
        ".css",
        ".js",
        "",
    }
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).suffix in suffixes]


def test_no_file_names_a_folder_of_one_machine() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("Needs a git checkout: run it in a clone of the repository.")
    shared = {
        Path(place) for place in ("/", "/app", "/data", "/home", "/opt", "/srv", "/usr", "/var", tempfile.gettempdir())
    }
    places = {f"{place}/" for place in {ROOT, ROOT.parent, Path.home()} - shared} | {"/Users/"}
    files = [path for path in tracked() if path.is_file() and path != Path(__file__)]
    broken(
        [
            line
            for path in files
            for line in laws.machine_paths(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"), places)
        ]
    )


def test_a_path_of_one_machine_is_caught() -> None:
    assert laws.machine_paths("docs/x.md", "see\n/srv/me/checkout/db", ["/srv/me/checkout/"]) == [
        "docs/x.md:2: /srv/me/checkout/ exists on one machine only. Use a path relative to the repository or the home."
    ]


def test_the_readme_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make run" in text
    assert "make test" in text
