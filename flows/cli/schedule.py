"""Schedules of the retraining flow: real Prefect deployments, fired while ``omniloop up`` runs."""

from typing import Annotated

import typer
from rich.table import Table

from flows.cli.common import console, show_table
from flows.settings import Settings

app = typer.Typer(help="When rounds start by the clock: add, list, pause, resume, remove.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The schedule's name, such as nightly.")]


@app.command("add")
def add(
    name: Name,
    cron: Annotated[str | None, typer.Option(help='Five fields, such as "0 3 * * *".')] = None,
    every: Annotated[str | None, typer.Option(help="An interval, such as 90m, 6h or 1d.")] = None,
    time_zone: Annotated[str, typer.Option(help="An IANA name, such as Europe/Zurich.")] = "UTC",
) -> None:
    """Start a round by the clock from now on."""
    from flows import schedules
    from flows.prefect_server import prefect_api

    interval = schedules.parse_every(every) if every else None
    with prefect_api(Settings.load().home) as api:
        made = schedules.add(api, name, cron=cron, every=interval, time_zone=time_zone)
    console.print(f"{made.name}: {made.when} ({made.time_zone}), next {_next(made)}.", highlight=False)


@app.command("list")
def list_() -> None:
    """Every schedule with its next times."""
    from flows import schedules
    from flows.prefect_server import prefect_api

    with prefect_api(Settings.load().home) as api:
        known = schedules.present(api)
    table = Table("name", "when", "time zone", "state", "next")
    for row in known:
        table.add_row(row.name, row.when, row.time_zone, "active" if row.active else "paused", _next(row))
    show_table(table)


@app.command("pause")
def pause(name: Name) -> None:
    """Stop a schedule for the time being."""
    _call("pause", name, "is paused")


@app.command("resume")
def resume(name: Name) -> None:
    """Let a paused schedule go on."""
    _call("resume", name, "is active again")


@app.command("remove")
def remove(name: Name) -> None:
    """Forget a schedule."""
    _call("remove", name, "is removed")


def _call(verb: str, name: str, done: str) -> None:
    from flows import schedules
    from flows.prefect_server import prefect_api

    with prefect_api(Settings.load().home) as api:
        getattr(schedules, verb)(api, name)
    console.print(f"{name} {done}.", highlight=False)


def _next(schedule: object) -> str:
    runs = getattr(schedule, "next_runs", ())
    return ", ".join(f"{run:%Y-%m-%d %H:%M %Z}" for run in runs) or "–"
