"""Every page of a lived-in site, by a path that shows something; a new page without one fails a test."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dashboards.pages import Page
from dashboards.views import PARTS

EXAMPLES: Mapping[str, Sequence[str]] = {
    "/versions/{version:int}": ("/versions/1", "/versions/2", "/versions/4"),
    "/compare": ("/compare?old=1&new=4",),
    "/rounds/{round:int}": ("/rounds/1", "/rounds/4"),
    "/alerts/{id:int}": ("/alerts/1",),
    "/reports/{id:int}": ("/reports/1",),
    "/labels/disagree": ("/labels/disagree?sample=s-003",),
    "/data/sample": ("/data/sample?id=s-001",),
}
"""What to fill into paths with parameters, and queries that a page cannot do without."""


def paths() -> list[str]:
    """The paths of all pages."""
    found: list[str] = []
    for part in PARTS:
        if isinstance(part, Page):
            found += EXAMPLES.get(part.path, (part.path,))
    missing = [path for path in found if re.search(r"[{}]", path)]
    if missing:
        raise ValueError(f"No example is known for {', '.join(missing)}. Add one to tests/dashboards/walks.py.")
    return found
