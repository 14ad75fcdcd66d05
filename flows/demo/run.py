"""Set the stage, tell the story, take its figures."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.demo.data import World
from flows.demo.figures import collect
from flows.demo.report import show
from flows.demo.story import tell
from flows.home import HomeError, exclusive, prepare
from flows.prefect_server import prefect_api
from flows.reporter import ConsoleReporter
from flows.settings import Settings
from flows.workspace import open_workspace

MARKER = ".demo"
"""A file that says that a folder belongs to the demo, which may clear it."""


def run_demo(settings: Settings, console: Console, json_file: Path | None = None) -> dict[str, Any]:
    """Run the whole story in ``<home>/demo``, print its report, and write its figures to ``json_file``."""
    started = time.monotonic()
    if json_file is not None:
        json_file.touch()  # a path that cannot be written is told now, not after minutes
    prepare(settings.home)
    with exclusive(settings.home, "the demo"):
        home = cleared(settings.home / "demo")
        ws = open_workspace(apart(home), ConsoleReporter(console))
        console.print("Starting a local Prefect and reading the embedded data set …")
        world = World.create()
        with prefect_api(home):
            tell(ws, world)
        figures = collect(ws, world, wall_s=time.monotonic() - started)
        figures["wall_s"] = time.monotonic() - started
        if json_file is not None:
            json_file.write_text(json.dumps(figures, indent=2))
        show(console, figures, home)
        console.print(f"\nDone in {figures['wall_s']:.0f} s.", highlight=False)
        ws.database.close()
    return figures


def apart(home: Path) -> Settings:
    """The user's settings with every store in the demo's own home, whatever database or MLflow they name: the story's
    versions are not for production.
    """
    return Settings.load(home=home, database_url="", blob_url="", mlflow_uri="")


def cleared(home: Path) -> Path:
    """An empty home for the demo. Raises :class:`HomeError` for a folder that is not the demo's own."""
    if home.exists() and any(home.iterdir()) and not (home / MARKER).exists():
        raise HomeError(f"{home} is not the demo's. Move it away, or point OMNI_HOME to another folder.")
    shutil.rmtree(home, ignore_errors=True)
    prepare(home)
    (home / MARKER).touch()
    return home
