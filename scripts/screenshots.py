"""Takes the manual's pictures of the pages from a home that has lived, such as the one that `make run` leaves behind.

    OMNI_HOME=.omniloop python -m scripts.screenshots docs/images

Needs Playwright and a Chromium (`make browser`). The pages are served for the moment, as `omniloop up` would; nothing
is changed but that somebody named `photographer` signs in.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from playwright.sync_api import Browser, sync_playwright

from db.errors import IllegalMove
from db.repository import rounds, users, versions
from flows.pages import address, command, sign_in_link, wiring, write_wiring
from flows.service.listening import listen
from flows.settings import Settings
from flows.workspace import Workspace, open_workspace

WHO = "photographer"
LAPTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@contextmanager
def served(ws: Workspace) -> Iterator[str]:
    """The pages of the home, at the address that is given."""
    with listen(ws.settings.dashboard, what="dashboard") as listener:
        port = listener.getsockname()[1]
    base = address(ws.settings, port)
    told = write_wiring(ws.home, wiring(ws.settings, port=port, service_url=""))
    with subprocess.Popen(command(told)) as pages:
        try:
            wait_for(base)
            yield base
        finally:
            pages.terminate()


def wait_for(base: str) -> None:
    """Return as soon as the pages are there."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{base}/sign-in", timeout=2).status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"The pages did not come up at {base} within 60 s.")


def subjects(ws: Workspace) -> dict[str, str]:
    """Name of the picture to path of the page."""
    with ws.database.read() as session:
        known, serving = versions.history(session), versions.serving(session)
        turns = rounds.list_rounds(session, limit=1)
    found = {
        "overview": "/",
        "versions": "/versions",
        "monitoring": "/monitoring",
        "alerts": "/alerts",
        "rules": "/rules",
        "rounds": "/rounds",
        "schedules": "/schedules",
        "labels": "/labels",
        "data": "/data",
        "audit": "/audit",
        "settings": "/settings",
    }
    if serving.version is not None:
        found["version"] = f"/versions/{serving.version}"
    if len(known) > 1:
        found["compare"] = f"/compare?old={known[-1].parent_version or known[0].version}&new={known[-1].version}"
    if turns:
        found["round"] = f"/rounds/{turns[0].id}"
    return found


def take(browser: Browser, ws: Workspace, base: str, out: Path) -> list[Path]:
    """Each page in the light theme, and some in the dark one and on a phone."""
    made = []
    for suffix, dark, size, only in (
        ("", False, LAPTOP, None),
        ("-dark", True, LAPTOP, ("overview", "monitoring", "version")),
        ("-phone", False, PHONE, ("overview", "labels", "alerts")),
    ):
        context = browser.new_context(color_scheme="dark" if dark else "light", viewport=size)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(sign_in_link(ws, WHO, base))
        page.get_by_role("button", name=f"Sign in as {WHO}").click()
        for name, path in subjects(ws).items():
            if only is None or name in only:
                page.goto(base + path)
                page.wait_for_timeout(1_200)
                made.append(out / f"{name}{suffix}.png")
                page.screenshot(path=made[-1])
        context.close()
    return made


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the pictures")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    ws = open_workspace(Settings.load())
    with suppress(IllegalMove), ws.database.write() as session:
        users.add_user(session, WHO, "admin", who=WHO, now=ws.clock())
    with served(ws) as base, sync_playwright() as driver:
        path = shutil.which("chromium") or shutil.which("chromium-browser") or driver.chromium.executable_path
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        for made in take(browser, ws, base, out):
            print(made)
        browser.close()
    ws.database.close()


if __name__ == "__main__":
    main()
