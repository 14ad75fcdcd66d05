"""The schedules that come with the program, each made once: a person may change, pause or remove it for good."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.prefect_server import Api
from flows.schedules import add, present


@dataclass(frozen=True, kw_only=True)
class Usual:
    """A schedule that a home begins with."""

    name: str
    cron: str
    """In UTC."""
    entrypoint: str


USUAL = (Usual(name="daily-report", cron="20 0 * * *", entrypoint="flows.report.report"),)
"""Reports are about whole days, so they are made soon after midnight UTC."""


def make_usual(api: Api, note: Path, entrypoints: Sequence[str], *, wanted: Sequence[Usual] = USUAL) -> tuple[str, ...]:
    """Make those that were never made, of flows that are served; returns their names.

    ``note`` holds the names, one a line. One that was made before a kill and is not noted yet is found and noted.
    """
    noted = set(note.read_text(encoding="utf-8").split()) if note.exists() else set[str]()
    made = []
    for each in wanted:
        if each.name in noted or each.entrypoint not in entrypoints:
            continue
        if all(known.name != each.name for known in present(api, entrypoint=each.entrypoint)):
            add(api, each.name, cron=each.cron, entrypoint=each.entrypoint)
            made.append(each.name)
        with note.open("a", encoding="utf-8") as out:
            out.write(f"{each.name}\n")
    return tuple(made)
