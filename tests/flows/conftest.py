"""A home with a first version in service, copied for every test that asks for `ws`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.reporter import SILENT
from flows.settings import Settings
from flows.workspace import Workspace, open_workspace
from omni_model.sample import Sample
from tests.flows import homes
from tests.flows.victims import VictimServer


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
def template(tmp_path_factory: pytest.TempPathFactory, labelled: list[Sample], arriving: list[Sample]) -> Path:
    """The home that is copied; nothing works in it."""
    home = tmp_path_factory.mktemp("template") / "home"
    with pytest.MonkeyPatch.context() as patch:
        homes.set_small(patch, home)
        homes.build(home, labelled, arriving)
    return home


@pytest.fixture(scope="session")
def betrayed(template: Path, right: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with v2 on probation, which learnt from labels that are off by one, and feedback that will tell."""
    home = homes.copy(template, tmp_path_factory.mktemp("betrayed") / "home")
    with pytest.MonkeyPatch.context() as patch:
        homes.set_small(patch, home)
        for name, value in homes.UNSEEN.items():
            patch.setenv(name, value)
        homes.betray(open_workspace(Settings.load(), SILENT), right)
    return home


@pytest.fixture(scope="session")
def victims(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictimServer]:
    """Starts processes that die where they are told to."""
    server = VictimServer(homes.small_environment(tmp_path_factory.mktemp("nowhere")))
    yield server
    server.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment with small settings and a home that is not there yet; returns its path."""
    home = tmp_path / "home"
    homes.set_small(monkeypatch, home)
    return home


@pytest.fixture
def home(small: Path, template: Path) -> Path:
    """A home with v1 in service and unlabelled samples in its pool; `OMNI_HOME` names it."""
    return homes.copy(template, small)


@pytest.fixture
def ws(home: Path) -> Iterator[Workspace]:
    """The same, opened."""
    opened = open_workspace(Settings.load(), SILENT)
    yield opened
    opened.database.close()
