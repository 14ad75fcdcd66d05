"""How a step tells what it does: one readable line a step, and a bar while it works. ``SILENT`` says nothing."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Tick = Callable[[int], None]
"""Advance the bar by this many."""


class Reporter(Protocol):
    """Where steps say what they do."""

    def say(self, line: str) -> None:
        """Tell one line."""

    def bar(self, title: str, total: int) -> AbstractContextManager[Tick]:
        """Show ``title`` with progress out of ``total`` while the block runs."""


class ConsoleReporter:
    """For a person at a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Tick]:
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(title, total=total)
            yield lambda num: progress.update(task, advance=num)


class LogReporter:
    """For a run without a terminal: lines go to the log, bars are left out."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def say(self, line: str) -> None:
        self._logger.info(line)

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Tick]:
        self._logger.info("%s (%d)", title, total)
        yield lambda num: None


class SilentReporter:
    """Off."""

    def say(self, line: str) -> None:
        """Say nothing."""

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Tick]:
        yield lambda num: None


SILENT = SilentReporter()
