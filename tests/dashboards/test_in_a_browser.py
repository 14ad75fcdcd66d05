"""Each page in a real browser, in both themes and on a phone: nothing breaks, overflows or keeps people out."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.dashboards import lived, places
from tests.dashboards.browsing import looking, served
from tests.dashboards.walks import paths

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[places.Place]:
    """A lived-in site behind a real address."""
    with served(tmp_path_factory.mktemp("site") / "home") as place:
        ids = lived.fill(place)
        lived.on_probation(place, ids)
        yield place


@pytest.mark.parametrize("path", paths())
def test_a_page_is_whole_in_both_themes_and_on_a_phone(chromium: Browser, site: places.Place, path: str) -> None:
    for dark, phone in ((False, False), (True, True)):
        with looking(chromium, site, dark=dark, phone=phone) as sight:
            assert sight.go(path) == 200
            sight.page.wait_for_timeout(300)
            found = Axe().run(sight.page).response["violations"]
            bad = [(each["id"], each["nodes"][0]["html"][:200]) for each in found if each["impact"] in SERIOUS]
            assert not bad, (path, dark, phone)
            assert sight.overflow <= 0, f"{path} is {sight.overflow} px too wide (phone: {phone})"
            assert not sight.complaints, path


def test_what_nobody_is_signed_in_for_leads_to_the_door_and_back(chromium: Browser, site: places.Place) -> None:
    with looking(chromium, site, None) as sight:
        sight.go("/audit?who=gate")
        assert "/sign-in?next=%2Faudit%3Fwho%3Dgate" in sight.page.url
        found = Axe().run(sight.page).response["violations"]
        assert not [each["id"] for each in found if each["impact"] in SERIOUS]


def test_an_open_page_shows_what_others_did_without_being_loaded_again(
    chromium: Browser, site: places.Place, tmp_path: Path
) -> None:
    from db.repository import users

    with looking(chromium, site) as sight:
        sight.go("/audit")
        sight.page.evaluate("window.sameLoad = true")
        sight.page.wait_for_timeout(1_500)  # the stream takes its first look
        with site.database.write() as session:
            users.add_user(session, "newcomer", "viewer", who="somebody", now=site.clock())
        sight.page.get_by_text("user newcomer").wait_for(timeout=10_000)
        assert sight.page.evaluate("window.sameLoad") is True
        assert not sight.complaints
