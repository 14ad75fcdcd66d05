"""An approval by clicks alone: the dialog says what will happen, asks why, and another open page follows by itself."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.dashboards.browsing import looking, served
from tests.dashboards.places import Place

pytestmark = pytest.mark.browser


def test_an_approval_by_clicks_is_seen_on_another_open_page(chromium: Browser, filled: Place, tmp_path: Path) -> None:
    with served(shutil.copytree(filled.wiring.home, tmp_path / "home")) as place:
        place.clock.now = filled.clock.now
        with looking(chromium, place, "approver") as mine, looking(chromium, place, "viewer", phone=True) as other:
            assert other.go("/") == 200
            expect(other.page.locator("#serving")).to_contain_text("v1")
            mine.go("/versions/4")
            mine.page.get_by_role("button", name="Approve").click()
            dialog = mine.page.get_by_role("dialog", name="Approve")
            expect(dialog).to_contain_text("v4 will answer all requests within about a second, on probation")
            dialog.get_by_label("Reason").fill("looked at the differences")
            dialog.get_by_role("button", name="Approve").click()
            expect(mine.page.locator("#said")).to_contain_text("v4 is in service, on probation.")
            expect(mine.page.locator("h1")).to_contain_text("probation")
            expect(other.page.locator("#serving")).to_contain_text("v4", timeout=10_000)
            assert not mine.complaints + other.complaints
