"""What every command shares: the console, the workspace, who is asking, and how errors are told."""

import errno
import getpass
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.errors import LoopError
from flows.reporter import ConsoleReporter
from flows.settings import Settings

if TYPE_CHECKING:
    from flows.workspace import Workspace

console = Console(soft_wrap=True)
errors = Console(stderr=True, soft_wrap=True)

MENDS = {
    errno.ENOSPC: "Free some space and try again; what was done is kept.",
    errno.EDQUOT: "The quota is used up: free some space and try again; what was done is kept.",
    errno.EROFS: "Make the file system writable, or choose another folder.",
    errno.EACCES: "Mend the permissions, or choose another folder.",
    errno.ENOENT: "Correct the path.",
    errno.EISDIR: "Name a file.",
}
"""What to do about an operating system's error, by its number."""

OF_THE_LOOP = frozenset(
    (
        "alembic",
        "apprise",
        "apscheduler",
        "argon2",
        "cron_descriptor",
        "cronsim",
        "evidently",
        "filelock",
        "fsspec",
        "jinja2",
        "mlflow",
        "optuna",
        "packaging",
        "pandas",
        "prefect",
        "psutil",
        "psycopg",
        "pyarrow",
        "pynvml",
        "sklearn",
        "sqlalchemy",
    )
)
"""What the extra `loop` brings, as it is imported."""


@contextmanager
def workspace() -> "Iterator[Workspace]":
    """The home that the environment names, with progress shown on the terminal."""
    from flows.workspace import open_workspace, use

    settings = Settings.load()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    ws = open_workspace(settings, ConsoleReporter(console))
    try:
        with use(ws):
            yield ws
    finally:
        ws.database.close()


@contextmanager
def prefect_workspace() -> "Iterator[Workspace]":
    """The same with a Prefect API for the flows that the block runs."""
    from flows.prefect_server import prefect_api

    with workspace() as ws, prefect_api(ws.home):
        yield ws


def show_table(table: Table) -> None:
    """Print a table as wide as the terminal; what is too long for its column is folded, never cut."""
    for column in table.columns:
        column.overflow = "fold"
    console.print(table, soft_wrap=False)


def person() -> str:
    """The name that goes into the audit trail unless ``--who`` gives another."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def fail(error: BaseException) -> int:
    """Tell an error that a person can mend, and return the exit code.

    An error that nobody foresaw is raised again with its traceback: hiding it would help nobody.
    """
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in OF_THE_LOOP:
        errors.print(f"[red]error:[/red] {escape(missing_extra(error))}", highlight=False)
        return 1
    if isinstance(error, expected_errors()):
        errors.print(f"[red]error:[/red] {escape(sentence(error))}", highlight=False)
        return 1
    raise error


def missing_extra(error: ModuleNotFoundError) -> str:
    """What a light installation says to a command of the whole product.

    >>> missing_extra(ModuleNotFoundError(name="mlflow"))
    "This command needs mlflow, which a light installation leaves out. Run `pip install 'omniloop[loop]'`."
    """
    return (
        f"This command needs {error.name}, which a light installation leaves out. Run `pip install 'omniloop[loop]'`."
    )


def expected_errors() -> tuple[type[BaseException], ...]:
    """Errors that a person can mend; most say how in their message, for an operating system's we do."""
    from db.errors import DatabaseError
    from omni_model.errors import OmniError

    return LoopError, DatabaseError, OmniError, ValueError, OSError


def sentence(error: BaseException) -> str:
    """What an error says, with the mend where the operating system leaves it out.

    >>> sentence(OSError(errno.ENOSPC, "No space left on device", "scores.parquet"))
    "No space left on device: 'scores.parquet'. Free some space and try again; what was done is kept."
    """
    if isinstance(error, OSError) and not isinstance(error, LoopError) and error.errno in MENDS:
        where = f": {error.filename!r}" if error.filename else ""
        return f"{error.strerror}{where}. {MENDS[error.errno]}"
    return str(error)
