"""Schedules of the flows: real Prefect deployments, fired while ``omniloop up`` runs."""

from typing import Annotated

import typer
from rich.table import Table

from flows.cli.common import console, person, show_table
from flows.settings import Settings

app = typer.Typer(help="What starts by the clock: add, list, pause, resume, run, remove.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="The schedule's name, such as nightly.")]


@app.command("add")
def add(
    name: Name,
    cron: Annotated[str | None, typer.Option(help='Five fields, such as "0 3 * * *".')] = None,
    every: Annotated[str | None, typer.Option(help="An interval, such as 90m, 6h or 1d.")] = None,
    time_zone: Annotated[str, typer.Option(help="An IANA name, such as Europe/Zurich.")] = "UTC",
    flow: Annotated[str, typer.Option(help="retrain (a round), report, watch, baseline or fit-selector.")] = "retrain",
) -> None:
    """Start a flow by the clock from now on: a round, unless `--flow` names another."""
    from flows import schedules
    from flows.deployments import entrypoint_of
    from flows.prefect_server import prefect_api

    interval, entrypoint = schedules.parse_every(every) if every else None, entrypoint_of(flow)
    with prefect_api(Settings.load().home) as api:
        if any(known.name == name for known in schedules.present_of_all(api)):
            raise schedules.ScheduleError(f"There is a schedule {name!r} already. Choose another name, or remove it.")
        made = schedules.add(api, name, cron=cron, every=interval, time_zone=time_zone, entrypoint=entrypoint)
    console.print(f"{made.name}: {flow}, {made.when} ({made.time_zone}), next {_next(made)}.", highlight=False)


@app.command("list")
def list_() -> None:
    """Every schedule with its next times."""
    from flows import schedules
    from flows.prefect_server import prefect_api

    with prefect_api(Settings.load().home) as api:
        known = schedules.present_of_all(api)
    table = Table("name", "flow", "when", "time zone", "state", "next")
    for row in known:
        table.add_row(row.name, row.flow, row.when, row.time_zone, "active" if row.active else "paused", _next(row))
    show_table(table)


@app.command("pause")
def pause(name: Name) -> None:
    """Stop a schedule for the time being."""
    _call("pause", name, "is paused")


@app.command("resume")
def resume(name: Name) -> None:
    """Let a paused schedule go on."""
    _call("resume", name, "is active again")


@app.command("run")
def run(name: Name) -> None:
    """Start what a schedule starts, once, now; its times stay. It needs `omniloop up`."""
    from flows import schedules
    from flows.prefect_server import prefect_api

    with prefect_api(Settings.load().home) as api:
        started = schedules.run_now(api, name, entrypoint=schedules.home_of(api, name), who=person())
    console.print(f"{name} is started as {started}.", highlight=False)


@app.command("remove")
def remove(name: Name) -> None:
    """Forget a schedule."""
    _call("remove", name, "is removed")


def _call(verb: str, name: str, done: str) -> None:
    from flows import schedules
    from flows.prefect_server import prefect_api

    with prefect_api(Settings.load().home) as api:
        getattr(schedules, verb)(api, name, entrypoint=schedules.home_of(api, name))
    console.print(f"{name} {done}.", highlight=False)


def _next(schedule: object) -> str:
    runs = getattr(schedule, "next_runs", ())
    return ", ".join(f"{run:%Y-%m-%d %H:%M %Z}" for run in runs) or "–"
