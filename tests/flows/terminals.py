"""A terminal for commands that run in the test's own process."""

import pytest

from flows.cli.common import console, errors

COLUMNS = 300


def widen(patch: pytest.MonkeyPatch) -> None:
    """Make the terminal wide enough for every table, whatever the one is that the tests were started in."""
    patch.setenv("COLUMNS", str(COLUMNS))
    for each in (console, errors):
        patch.setattr(each, "width", COLUMNS)
