"""Whatever a request says, the answer is a page or a sentence about what is wrong with it, never a fault of ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dashboards.pages import Action, File, Page
from dashboards.views import PARTS
from tests.dashboards import lived, places
from tests.dashboards.places import Place

NUMBERS = ("1", "0", "99999999999999999999")
ODD = (
    "",
    "1",
    "99999999999999999999",
    "-1",
    "nan",
    "a\x00b",
    "\u202e<script>",
    "[a",
    "9999-12-31T23:59:59",
    "é" * 300,
)


@pytest.fixture(scope="module")
def visited(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A lived-in site that all requests of this file go to."""
    made = places.made(tmp_path_factory.mktemp("odd") / "home")
    lived.fill(made)
    return made


def filled(path: str, number: str) -> str:
    """A path with its parameters filled in."""
    return re.sub(r"\{\w+(:\w+)?\}", number, path)


@pytest.mark.parametrize("part", [part for part in PARTS if not isinstance(part, Action)], ids=lambda part: part.path)
def test_no_query_makes_a_page_fail(part: Page | File, visited: Place) -> None:
    names = list(part.asks.model_fields)
    with visited.as_("admin") as client:
        for number in NUMBERS if "{" in part.path else NUMBERS[:1]:
            for value in ODD:
                answer = client.get(filled(part.path, number), params=dict.fromkeys(names, value))
                assert answer.status_code < 500 or Path(part.path).parts[1] == "schedules", (number, value, answer.text)


@pytest.mark.parametrize("part", [part for part in PARTS if isinstance(part, Action)], ids=lambda part: part.path)
def test_no_form_makes_an_action_fail(part: Action, visited: Place) -> None:
    names = list(part.form.model_fields)
    with visited.as_("admin") as client:
        for value in ODD:
            for sent in ({"data": dict.fromkeys(names, value)}, {"json": dict.fromkeys(names, value)}):
                answer = client.post(filled(part.path, NUMBERS[-1]), **sent)
                assert answer.status_code < 500 or Path(part.path).parts[1] == "schedules", (value, answer.text)


@pytest.mark.parametrize("path", ["/monitoring", "/alerts", "/reports", "/audit", "/versions", "/rounds", "/data"])
def test_a_form_that_is_sent_with_empty_fields_shows_everything(path: str, visited: Place) -> None:
    part = next(part for part in PARTS if isinstance(part, Page) and part.path == path)
    blank = {
        field.alias or name: ""
        for name, field in part.asks.model_fields.items()
        if field.default in (None, "") and name != "state"
    }
    with visited.as_("viewer") as client:
        assert client.get(path, params=blank).status_code == 200
