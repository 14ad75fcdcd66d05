"""A running service in a home with v1."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.reporter import SILENT
from flows.service.live import LiveService
from flows.settings import Settings
from flows.workspace import Workspace, open_workspace
from tests.flows import homes
from tests.flows.service.running import running


@pytest.fixture
def service(ws: Workspace) -> Iterator[tuple[httpx.Client, LiveService]]:
    """A client of a running service, and the service."""
    with running(ws) as found:
        yield found


@pytest.fixture
def client(service: tuple[httpx.Client, LiveService]) -> httpx.Client:
    return service[0]


@pytest.fixture(scope="module")
def refusing(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One running service for all requests that change nothing."""
    with pytest.MonkeyPatch.context() as patch:
        home = homes.copy(template, tmp_path_factory.mktemp("refusing") / "home")
        homes.set_small(patch, home)
        opened = open_workspace(Settings.load(), SILENT)
        with running(opened) as (client, _):
            yield client
        opened.database.close()
