"""A home with a first version in service, copied for every test that asks for `ws`."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from flows.reporter import SILENT
from flows.settings import PREFIX
from flows.workspace import Workspace, open_workspace
from omni_model.sample import Sample
from tests.flows import homes


@pytest.fixture(scope="session")
def labelled() -> list[Sample]:
    """What the first version learns from."""
    return homes.domain("en")


@pytest.fixture(scope="session")
def arriving() -> list[Sample]:
    """What arrives without answers."""
    return homes.domain("es")


@pytest.fixture(scope="session")
def right(labelled: list[Sample], arriving: list[Sample]) -> dict[str, str]:
    """What a person would answer, by sample id."""
    return homes.answers_of([*labelled, *arriving])


@pytest.fixture(scope="session")
def template(
    tmp_path_factory: pytest.TempPathFactory, labelled: list[Sample], arriving: list[Sample]
) -> Path:
    """The home that is copied; nothing works in it."""
    home = tmp_path_factory.mktemp("template") / "home"
    with pytest.MonkeyPatch.context() as patch:
        set_small(patch, home)
        homes.build(home, labelled, arriving)
    return home


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment with small settings and a home that is not there yet; returns its path."""
    home = tmp_path / "home"
    set_small(monkeypatch, home)
    return home


@pytest.fixture
def home(small: Path, template: Path) -> Path:
    """A home with v1 in service and unlabelled samples in its pool; `OMNI_HOME` names it."""
    return homes.copy(template, small)


@pytest.fixture
def ws(home: Path) -> Iterator[Workspace]:
    """The same, opened."""
    opened = open_workspace(homes.settings(home), SILENT)
    yield opened
    opened.database.close()


def set_small(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Small settings and nothing else of ours in the environment; one thread, so that sums are always added alike."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        patch.delenv(name)
    for name, value in {**homes.SMALL, "OMNI_HOME": str(home)}.items():
        patch.setenv(name, value)
    torch.set_num_threads(1)
