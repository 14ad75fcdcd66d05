"""Calls at the same moment, from threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from db.errors import DatabaseError

T = TypeVar("T")


def together(calls: Sequence[Callable[[], T]]) -> list[T | DatabaseError]:
    """Start all calls at once; returns what each returned, or the database error that it raised."""
    barrier = Barrier(len(calls))

    def start(call: Callable[[], T]) -> T | DatabaseError:
        barrier.wait()
        try:
            return call()
        except DatabaseError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(start, calls))


def winners(results: Sequence[T | DatabaseError]) -> list[T]:
    """What the calls that did not fail returned."""
    return [result for result in results if not isinstance(result, DatabaseError)]


def losers(results: Sequence[T | DatabaseError]) -> list[DatabaseError]:
    """The errors of the calls that failed."""
    return [result for result in results if isinstance(result, DatabaseError)]
