"""An empty site for every test that asks for `place`; a real browser for those that ask for `chromium`."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.dashboards import lived, places

FOUND = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[places.Place]:
    """A site over an empty database, with a person of each role."""
    made = places.made(tmp_path / "home")
    yield made
    made.database.close()


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> places.Place:
    """A lived-in site to copy from; nobody changes it."""
    made = places.made(tmp_path_factory.mktemp("filled") / "home")
    lived.fill(made)
    made.database.close()
    return made


@pytest.fixture
def lived_in(filled: places.Place, tmp_path: Path) -> Iterator[places.Place]:
    """A lived-in site of one's own (`lived.fill`), in a fraction of the time that filling one takes."""
    made = places.made(shutil.copytree(filled.wiring.home, tmp_path / "lived_in"))
    made.clock.now = filled.clock.now
    yield made
    made.database.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A real browser without a window, no longer than a file of tests: while it is there, Playwright's event loop runs in
    the main thread, where other tests want their own. It is the machine's own, or the one that the variable CHROMIUM names."""
    with sync_playwright() as driver:
        path = FOUND or driver.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("no Chromium here: `make browser` installs one, or set CHROMIUM to the path of yours")
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()
