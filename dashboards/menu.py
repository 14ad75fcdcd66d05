"""The menu: where each page is found, and who sees its entry."""

from __future__ import annotations

from dataclasses import dataclass

from db.records.users import Role


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of the menu."""

    title: str
    path: str
    role: Role = "viewer"

    def is_lit(self, path: str) -> bool:
        """Whether somebody at `path` is in this part of the pages.

        >>> Entry(title="Versions", path="/versions").is_lit("/versions/7"), Entry(title="All", path="/").is_lit("/x")
        (True, False)
        """
        return path == self.path or (self.path != "/" and path.startswith(f"{self.path}/"))


MENU = (
    Entry(title="Overview", path="/"),
    Entry(title="Versions", path="/versions"),
    Entry(title="Monitoring", path="/monitoring"),
    Entry(title="Alerts", path="/alerts"),
    Entry(title="Rounds", path="/rounds"),
    Entry(title="Schedules", path="/schedules"),
    Entry(title="Labels", path="/labels", role="viewer"),
    Entry(title="Data", path="/data"),
    Entry(title="Audit", path="/audit"),
    Entry(title="Settings", path="/settings"),
)
