"""A bundle of the template's v1 with text and image, and edges over it."""

from pathlib import Path

import pytest

from flows.edge.exporting import export
from flows.reporter import SILENT
from flows.settings import Settings
from flows.workspace import open_workspace
from tests.flows import homes


@pytest.fixture(scope="session")
def bundle(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `omniloop edge export` made; nothing writes into it."""
    folder = tmp_path_factory.mktemp("edge")
    with pytest.MonkeyPatch.context() as patch:
        homes.set_small(patch, homes.copy(template, folder / "home"))
        ws = open_workspace(Settings.load(), SILENT)
        export(ws, folder / "bundle", modalities=("text", "image"))
        ws.database.close()
    return folder / "bundle"
