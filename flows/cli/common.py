"""What every command shares: the console, the workspace, who is asking, and how errors are told."""

import getpass
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.markup import escape

from flows.home import HomeError
from flows.reporter import ConsoleReporter
from flows.settings import Settings, SettingsError
from flows.workspace import Workspace, open_workspace, use

console = Console(soft_wrap=True)
errors = Console(stderr=True, soft_wrap=True)


@contextmanager
def workspace() -> Iterator[Workspace]:
    """The home that the environment names, with progress shown on the terminal."""
    settings = Settings.load()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    ws = open_workspace(settings, ConsoleReporter(console))
    try:
        with use(ws):
            yield ws
    finally:
        ws.database.close()


@contextmanager
def prefect_workspace() -> Iterator[Workspace]:
    """The same with a Prefect API for the flows that the block runs."""
    from flows.prefect_server import prefect_api

    with workspace() as ws, prefect_api(ws.home):
        yield ws


def person() -> str:
    """The name that goes into the audit trail unless ``--who`` gives another."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def fail(error: BaseException) -> int:
    """Tell an error and return the exit code: 2 for a wrong command line, 1 for what the message explains.

    An error that nobody foresaw is raised again with its traceback: hiding it would help nobody.
    """
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, expected_errors()):
        errors.print(f"[red]error:[/red] {escape(str(error))}", highlight=False)
        return 1
    raise error


def expected_errors() -> tuple[type[BaseException], ...]:
    """Errors whose message already says the fact, the value and the mend."""
    from db.errors import DatabaseError
    from flows.prefect_server import ServerError

    return (
        DatabaseError,
        HomeError,
        ServerError,
        SettingsError,
        ValueError,
        LookupError,
        FileNotFoundError,
        PermissionError,
    )
