"""The dashboard as an operator meets it: weight, time to the first paint, statements, accessibility, and the story.

    make bench-dashboard            about five minutes
    make bench-dashboard QUICK=1    about a minute, with a tenth of the history and without the story

A home with 100,000 predictions and 1,000 versions, the pages as the process that `omniloop up` starts, and the
machine's own Chromium with an empty cache for every load.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, stdev

import httpx
import psutil
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, CDPSession, sync_playwright

from benchmarks.dashboard_history import add_predictions, add_versions
from benchmarks.harness import Figure, figure, quick, write_results
from tests.dashboards import lived, places
from tests.dashboards.browsing import LAPTOP, PHONE, sign_in
from tests.dashboards.conftest import FOUND
from tests.dashboards.walks import paths

NUM_LOADS = 7
ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def process(place: places.Place) -> Iterator[psutil.Process]:
    """The pages in a process of their own."""
    told = place.wiring.home / "wiring.json"
    told.write_text(place.wiring.model_dump_json())
    with subprocess.Popen([sys.executable, "-m", "dashboards", "--wiring", str(told)], cwd=ROOT) as started:
        try:
            address = f"http://127.0.0.1:{place.wiring.port}/sign-in"
            deadline = time.monotonic() + 60
            while not answers(address):
                if time.monotonic() > deadline:
                    raise RuntimeError("The pages did not come up within 60 s.")
                time.sleep(0.05)
            yield psutil.Process(started.pid)
        finally:
            started.terminate()


def answers(address: str) -> bool:
    """Whether the pages are there."""
    try:
        return httpx.get(address, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def one_load(browser: Browser, place: places.Place, path: str) -> tuple[float, float, int]:
    """Milliseconds to the first paint with content, kB transferred, and requests of one cold load."""
    context = browser.new_context(viewport=LAPTOP)  # type: ignore[arg-type]
    sign_in(context, place, "admin")
    page = context.new_page()
    network: CDPSession = context.new_cdp_session(page)
    network.send("Network.enable")
    sizes: list[float] = []
    network.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto(f"http://127.0.0.1:{place.wiring.port}{path}")
    page.wait_for_timeout(500)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    context.close()
    return float(paint), sum(sizes) / 1000, len(sizes)


def violations(browser: Browser, place: places.Place) -> dict[str, list[str]]:
    """What axe finds on each page, in the light theme on a laptop and in the dark one on a phone."""
    found: dict[str, list[str]] = {}
    for dark, size in ((False, LAPTOP), (True, PHONE)):
        context = browser.new_context(viewport=size, color_scheme="dark" if dark else "light")  # type: ignore[arg-type]
        sign_in(context, place, "admin")
        page = context.new_page()
        for path in paths():
            page.goto(f"http://127.0.0.1:{place.wiring.port}{path}")
            page.wait_for_timeout(400)
            ids = [each["id"] for each in Axe().run(page).response["violations"]]
            if ids:
                found.setdefault(path, []).extend(ids)
        context.close()
    return found


def queries(place: places.Place) -> dict[str, int]:
    """Statements that each page sends, that of the session included."""
    with place.as_("admin") as client:
        return {path: place.num_queries(client, path) for path in paths()}


def story() -> float:
    """1 if the whole story passes in a real browser, 0 if it fails or is skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/dashboards/test_story.py"]
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    print(done.stdout)
    return float(done.returncode == 0 and " passed" in done.stdout and " skipped" not in done.stdout)


def main() -> None:
    """Measure and keep the figures."""
    is_quick = quick()
    num_predictions, num_versions = (10_000, 100) if is_quick else (100_000, 1_000)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        port = free_port()
        place = places.made(Path(folder) / "home", port=port)
        ids = lived.fill(place)
        add_predictions(place, ids, num_predictions)
        add_versions(place, num_versions)
        place.clock.now = places.START  # what was added lies within the last day
        counted = queries(places.made(place.wiring.home))
        browser = driver.chromium.launch(
            executable_path=FOUND or driver.chromium.executable_path, args=["--no-sandbox"]
        )
        with process(place) as running:
            loads = [one_load(browser, place, "/") for _ in range(NUM_LOADS)]
            others = {path: median(one_load(browser, place, path)[0] for _ in range(3)) for path in paths()}
            bad = violations(browser, place)
            memory = running.memory_info().rss / 2**20
        browser.close()
    paints = [paint for paint, _, _ in loads]
    slowest, worst = max(others, key=lambda path: others[path]), max(counted, key=lambda path: counted[path])
    figures: dict[str, Figure] = {
        "overview_kb": figure(median(kb for _, kb, _ in loads), "kB", n=NUM_LOADS),
        "overview_requests": figure(median(num for _, _, num in loads), "requests", n=NUM_LOADS),
        "first_paint_ms_100k": figure(None if is_quick else median(paints), "ms", spread=stdev(paints), n=NUM_LOADS),
        "axe_violations": figure(sum(len(ids_) for ids_ in bad.values()), "violations", n=2 * len(counted)),
        "max_queries_per_page": figure(counted[worst], "queries", n=len(counted)),
        "story_passed": figure(None if is_quick else story(), "of 1"),
        "slowest_first_paint_ms": figure(others[slowest], "ms", n=3),
        "server_memory_mb": figure(memory, "MiB"),
        "num_pages": figure(len(counted), "pages"),
    }
    notes = [
        f"{num_predictions:,} predictions and {num_versions:,} versions in SQLite; every load with an empty cache. "
        f"The slowest page to its first paint is {slowest}; the most statements are those of {worst}.",
        *(f"axe on {path}: {', '.join(ids_)}" for path, ids_ in bad.items()),
    ]
    write_results("dashboard", figures, quick=is_quick, notes=notes)


def free_port() -> int:
    """A port that is free now."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
