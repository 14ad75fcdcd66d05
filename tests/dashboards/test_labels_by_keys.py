"""Labelling in a real browser, by the keyboard alone, and two browsers at once."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from db.records import NewSample, Task
from db.repository import label_queue, labelling, labels, samples, tasks
from tests.dashboards import places
from tests.dashboards.browsing import Sight, looking, served

pytestmark = [pytest.mark.browser]


@pytest.fixture
def site(filled: places.Place, tmp_path: Path) -> Iterator[places.Place]:
    """A lived-in site behind a real address."""
    with served(shutil.copytree(filled.wiring.home, tmp_path / "home")) as place:
        place.clock.now = filled.clock.now
        yield place


def current(sight: Sight) -> str:
    """The entry that is offered, of an offer that is newer than the last."""
    return sight.page.locator("form[action='/labels/answer'] [name=entry]").first.input_value()


def press(sight: Sight, key: str) -> None:
    """Press a key and wait until the next sample is there."""
    sight.page.evaluate("document.getElementById('work').dataset.old = 'yes'")
    sight.page.keyboard.press(key)
    sight.page.wait_for_selector("#work:not([data-old])")


def given(place: places.Place) -> list[str]:
    with place.database.read() as session:
        found = [label for label in labels.labels_of_round(session, 5) if label.origin == "human:labeller"]
    return [label.answer for label in found if label.superseded_at is None]


def test_ten_samples_are_labelled_undone_and_skipped_by_keys_alone(chromium: Browser, site: places.Place) -> None:
    with looking(chromium, site, "labeller") as sight:
        sight.go("/labels/next")
        sight.page.evaluate("window.sameLoad = true")
        sight.page.wait_for_selector("canvas.wave[data-drawn]")
        for key in "0123456789":
            press(sight, key)
        assert given(site) == list("0123456789")
        last = sight.page.locator("#last").inner_text()
        assert "9 for s-" in last
        assert "The model (v1) said" in last
        press(sight, "u")
        assert given(site) == list("012345678")
        press(sight, "4")
        skipped = current(sight)
        press(sight, "s")
        assert current(sight) != skipped
        assert given(site) == [*"012345678", "4"]
        assert sight.page.evaluate("window.sameLoad") is True  # never a page load in between
        assert not sight.complaints


def test_keys_play_the_sound_zoom_the_picture_and_show_themselves(chromium: Browser, site: places.Place) -> None:
    with looking(chromium, site, "labeller") as sight:
        sight.go("/labels/next")
        sight.page.evaluate("document.querySelector('audio').onplaying = () => { window.played = true; }")
        sight.page.keyboard.press("Space")
        assert sight.page.evaluate("new Promise((done) => setTimeout(() => done(window.played), 1000))") is True
        sight.page.keyboard.press("z")
        assert sight.page.locator("dialog.zoom").first.is_visible()
        sight.page.keyboard.press("3")  # behind a dialog a key answers nothing
        sight.page.keyboard.press("z")
        assert not sight.page.locator("dialog.zoom").first.is_visible()
        sight.page.keyboard.press("?")
        assert sight.page.locator("#keys").is_visible()
        sight.page.keyboard.press("Escape")
        assert given(site) == []
        sight.page.keyboard.press("d")
        sight.page.get_by_role("heading", name="What is wrong?").wait_for()
        assert not sight.complaints


def test_two_browsers_at_once_never_see_the_same_sample(chromium: Browser, site: places.Place) -> None:
    with looking(chromium, site, "labeller") as one, looking(chromium, site, "operator") as other:
        seen: dict[str, set[str]] = {"one": set(), "other": set()}
        one.go("/labels/next")
        other.go("/labels/next")
        for _ in range(4):
            seen["one"].add(current(one))
            seen["other"].add(current(other))
            press(one, "1")
            press(other, "2")
        assert not seen["one"] & seen["other"]
        assert len(seen["one"]) == len(seen["other"]) == 4


def test_an_answer_that_comes_too_late_is_told_and_the_next_sample_is_shown(
    chromium: Browser, site: places.Place
) -> None:
    with looking(chromium, site, "labeller") as sight:
        sight.go("/labels/next")
        entry = int(current(sight))
        site.clock.wait(hours=1)  # the lease runs out, and somebody else answers
        with site.database.write() as session:
            labelling.answer_entry(session, entry, "1", who="ann", now=site.clock())
        press(sight, "7")
        assert "has been labelled already" in sight.page.locator("#said").inner_text()
        assert int(current(sight)) != entry


def test_many_answers_are_searched(chromium: Browser, site: places.Place) -> None:
    animals = tuple(f"animal {number}" for number in range(60))
    with site.database.write() as session:
        tasks.put_task(session, Task(name="animal", instructions=("Which?",), answers=animals))
        sample = NewSample(id="zoo", task="animal", instruction="Which?", inputs={}, split="train", source="zoo")
        samples.add_samples(session, [sample], now=site.clock())
        label_queue.enqueue(session, ["zoo"], round_id=None, now=site.clock())
    with looking(chromium, site, "labeller") as sight:
        sight.go("/labels/next?task=animal")
        sight.page.keyboard.press("/")
        sight.page.keyboard.type("animal 4")
        press(sight, "Enter")
        sight.page.get_by_text("Nothing waits for you").first.wait_for()
    with site.database.read() as session:
        label = labels.active_label(session, "zoo")
    assert label is not None
    assert label.answer == "animal 4"


def test_a_film_that_is_kept_as_frames_is_drawn_and_played_by_key(chromium: Browser, site: places.Place) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.full((4, 8, 8, 3), [[[[10]]], [[[20]]], [[[30]]], [[[40]]]], dtype=np.uint8))
    film = NewSample(
        id="film",
        task="digit",
        instruction="Which?",
        inputs={"video": site.blobs.put(buffer.getvalue())},
        split="train",
        source="film",
    )
    with site.database.write() as session:
        samples.add_samples(session, [film], now=site.clock())
        label_queue.enqueue(session, ["film"], round_id=None, now=site.clock(), priorities=[9.0])
    with looking(chromium, site, "labeller") as sight:
        sight.go("/labels/next")
        sight.page.wait_for_selector(".film canvas[data-frame='0']")
        sight.page.keyboard.press("Space")
        sight.page.wait_for_selector(".film canvas[data-frame='3']")
        pixel = "document.querySelector('.film canvas').getContext('2d').getImageData(3, 3, 1, 1).data"
        assert sight.page.evaluate(f"Array.from({pixel})") == [40, 40, 40, 255]


def test_it_works_without_any_script(chromium: Browser, site: places.Place) -> None:
    with looking(chromium, site, "labeller") as sight:
        cookies = sight.page.context.cookies()
        plain = chromium.new_context(java_script_enabled=False)
        try:
            plain.add_cookies([{"name": c["name"], "value": c["value"], "url": sight.base} for c in cookies])
            page = plain.new_page()
            page.goto(sight.base + "/labels/next")
            page.locator("button[name=answer][value='6']").click()
            page.get_by_role("button", name="Undo").wait_for()
        finally:
            plain.close()
    assert given(site) == ["6"]
