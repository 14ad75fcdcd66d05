"""The command line. Heavy libraries are imported by the commands that need them, so the others answer at once."""

import os
import sys

import typer

from flows.cli import (
    alerts,
    audit,
    data,
    edge,
    keys,
    labels,
    live,
    loop,
    models,
    msn,
    reports,
    rounds,
    rules,
    schedule,
    status,
    trials,
    users,
)
from flows.cli.common import fail
from flows.telemetry import silence

app = typer.Typer(
    name="omniloop",
    help="A continual-learning loop for omni-modal models: select, tune, validate, promote, watch, roll back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
loop.register(app)
live.register(app)
rules.register(app)
status.register(app)
audit.register(app)
app.add_typer(data.app, name="data")
app.add_typer(edge.app, name="edge")
app.add_typer(keys.app, name="keys")
app.add_typer(labels.app, name="labels")
app.add_typer(rounds.app, name="rounds")
app.add_typer(models.app, name="models")
app.add_typer(msn.app, name="msn")
app.add_typer(alerts.app, name="alerts")
app.add_typer(reports.app, name="reports")
app.add_typer(schedule.app, name="schedule")
app.add_typer(trials.app, name="trials")
app.add_typer(users.app, name="users")


def main() -> None:
    """Entry point of ``omniloop``: runs the command and turns a known error into one readable line and exit code 1.

    A wrong command line is exit code 2, Ctrl-C is 130; typer tells both.
    """
    silence()
    if sys.argv[1:2] != ["up"]:  # steps speak for themselves at a terminal; under `up` Prefect keeps its own log
        os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    try:
        app()
    except Exception as error:  # noqa: BLE001  the last stop: `fail` shows what it knows and re-raises the rest
        sys.exit(fail(error))
