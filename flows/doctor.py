"""``omniloop doctor``: what is installed, configured and reachable, and how to mend what is not.

It looks and changes nothing but a probe file that it removes again. MLflow, Prefect, Evidently and torch are not
imported: their versions stand in their metadata, and their stores are asked directly.
"""

import os
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows import installation, stores
from flows.health import Check
from flows.settings import NOT_SETTINGS, PREFIX, Settings, SettingsError, names
from flows.telemetry import OFF, talkers

MARKS = {"ok": "[green]ok[/green]", "warn": "[yellow]warn[/yellow]", "fail": "[red]FAIL[/red]"}


def checks(settings: Settings | None = None) -> list[Check]:
    """Everything that is looked at, in the order in which things depend on each other.

    Without ``settings`` they are loaded from the environment; if that fails, the failure is a finding, and what depends
    on them is left out.
    """
    found = list(installation.look())
    try:
        settings = settings or Settings.load()
    except SettingsError as error:
        known = "" if "Did you mean" in str(error) else f" The names are: {', '.join(sorted(names(Settings)))}."
        mend = f"Mend or unset it.{known}"
        return [*found, Check(name="settings", status="fail", detail=str(error), mend=mend)]
    return [*found, configuration(os.environ), silence_of_others(), *stores.look(settings)]


def configuration(environ: Iterable[str]) -> Check:
    """Which settings come from the environment; their values are not shown, as some are secrets."""
    given = sorted(name for name in environ if name.startswith(PREFIX) and name not in NOT_SETTINGS)
    detail = f"from the environment: {', '.join(given)}" if given else "all at their defaults"
    return Check(name="settings", status="ok", detail=f"{detail}; {len(names(Settings))} can be set")


def silence_of_others() -> Check:
    """Is the telemetry of the dependencies off?"""
    talking = talkers()
    if not talking:
        return Check(name="telemetry", status="ok", detail="off in all dependencies")
    mend = "Set " + ", ".join(f"{name}={OFF[name]}" for name in talking) + "."
    return Check(name="telemetry", status="fail", detail=f"not switched off: {', '.join(talking)}", mend=mend)


def render(found: Sequence[Check], console: Console) -> None:
    """A table of the findings, then what to do, one line each."""
    table = Table("looked at", "state", "found", box=None, pad_edge=False)
    for check in found:
        table.add_row(check.name, MARKS[check.status], escape(check.detail))
    console.print(table)
    for line in _mends(found):
        console.print(line, markup=False, highlight=False)


def exit_code(found: Sequence[Check]) -> int:
    """1 if anything failed, else 0; a warning is no failure."""
    return int(any(check.status == "fail" for check in found))


def _mends(found: Sequence[Check]) -> Iterator[str]:
    yield ""
    wrong = [check for check in found if check.status != "ok"]
    for check in wrong:
        yield f"{check.name}: {check.mend}"
    if not wrong:
        yield "All is well."
