"""From a driver's exception to one that says what to do."""

from __future__ import annotations

import sqlite3

import psycopg
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from db.errors import DatabaseBusy, DatabaseError, DatabaseUnavailable, NotFound

_SQLITE: tuple[tuple[str, type[DatabaseUnavailable], str], ...] = (
    ("SQLITE_FULL", DatabaseUnavailable, "The disk is full. Free space there and try again."),
    ("SQLITE_READONLY", DatabaseUnavailable, "It is read-only. Make the file and its folder writable to this user."),
    ("SQLITE_CANTOPEN", DatabaseUnavailable, "The file cannot be opened. Create its folder and make it writable."),
    ("SQLITE_IOERR", DatabaseUnavailable, "Reading or writing failed. Check the disk (space, quota, mount)."),
    ("SQLITE_BUSY", DatabaseBusy, "Another process is writing and did not finish in time. Try again, or stop it."),
    ("SQLITE_LOCKED", DatabaseBusy, "Another process is writing and did not finish in time. Try again, or stop it."),
    ("SQLITE_CORRUPT", DatabaseUnavailable, "The file is damaged. Restore it from a backup."),
    ("SQLITE_NOTADB", DatabaseUnavailable, "The file is no SQLite database. Correct the path."),
    ("SQLITE_PERM", DatabaseUnavailable, "Permission was refused. Make the file readable and writable to this user."),
    ("SQLITE_AUTH", DatabaseUnavailable, "Permission was refused. Make the file readable and writable to this user."),
)

_POSTGRES: tuple[tuple[str, type[DatabaseUnavailable], str], ...] = (
    ("53100", DatabaseUnavailable, "The server's disk is full. Free space there and try again."),
    ("53300", DatabaseBusy, "The server has no connection left. Raise max_connections or close some clients."),
    ("53", DatabaseUnavailable, "The server is out of resources. Give it more, then try again."),
    ("25006", DatabaseUnavailable, "The server is read-only (a standby?). Point the URL at the primary."),
    ("40001", DatabaseBusy, "Two transactions met and this one gave way. Try again."),
    ("40P01", DatabaseBusy, "Two transactions met and this one gave way. Try again."),
    ("55P03", DatabaseBusy, "Another transaction held a lock too long. Try again."),
    ("57", DatabaseUnavailable, "The server shut the connection. Wait for it to come back, then try again."),
    ("58", DatabaseUnavailable, "The server had a system error. Look into its log."),
    ("28", DatabaseUnavailable, "The server refused the user or password. Correct the URL."),
    ("3D000", DatabaseUnavailable, "The server has no such database. Create it, or correct the URL."),
    ("08", DatabaseUnavailable, "The connection broke. Check that the server runs and can be reached."),
)

_READING = "This session only reads, and something tried to write. Use Database.write()."
_NO_TABLES = "The tables are missing. Run `omniloop doctor`, or call Database.upgrade()."

_NO_SUCH = "A row refers to one that does not exist. Add that one first; nothing of this transaction was written."
_NOT_ALLOWED = "A value is none of those allowed. Nothing of this transaction was written."
_TOO_LARGE = "A number is larger than any that the database holds. Correct it; nothing of this transaction was written."

DRIVER_ERRORS = (SQLAlchemyError, sqlite3.Error, psycopg.Error, OverflowError)
"""What `translate` is asked about."""


def translate(error: BaseException, *, url: str, mode: str) -> Exception | None:
    """The clearer exception for `error`, or None to let it pass.

    A `ValueError` of a column type (a naive datetime, a NUL in a text) comes out as itself.
    """
    if isinstance(error, OverflowError):
        return ValueError(_TOO_LARGE) if "SQLite INTEGER" in str(error) else None
    if isinstance(error, PoolTimeout):
        return DatabaseBusy(f"Database {url}: every connection is in use. Close sessions sooner, or use fewer threads.")
    if isinstance(error, DBAPIError):
        cause: BaseException | None = error.orig
    elif isinstance(error, StatementError):
        return error.orig if isinstance(error.orig, ValueError) else None
    else:
        cause = error
    if isinstance(cause, sqlite3.Error):
        return _from_sqlite(cause, url, mode)
    if isinstance(cause, psycopg.Error):
        return _from_postgres(cause, url, mode)
    return None


def _from_sqlite(cause: sqlite3.Error, url: str, mode: str) -> Exception | None:
    name = getattr(cause, "sqlite_errorname", "")
    if name == "SQLITE_CONSTRAINT_FOREIGNKEY":
        return NotFound(f"{_NO_SUCH} ({cause})")
    if name == "SQLITE_CONSTRAINT_CHECK":
        return ValueError(f"{_NOT_ALLOWED} ({cause})")
    if name.startswith("SQLITE_READONLY") and mode == "read":
        return DatabaseUnavailable(f"Database {url}: {_READING}")
    if "no such table" in str(cause):
        return DatabaseUnavailable(f"Database {url}: {_NO_TABLES} ({cause})")
    return _look_up(_SQLITE, name, url, cause)


def _from_postgres(cause: psycopg.Error, url: str, mode: str) -> Exception | None:
    state = cause.sqlstate or ""
    if state == "23503":
        return NotFound(f"{_NO_SUCH} ({str(cause).strip()})")
    if state == "23514":
        return ValueError(f"{_NOT_ALLOWED} ({str(cause).strip()})")
    if state == "22003":
        return ValueError(f"{_TOO_LARGE} ({str(cause).strip()})")
    if state == "25006" and mode == "read":
        return DatabaseUnavailable(f"Database {url}: {_READING}")
    if state == "42P01":
        return DatabaseUnavailable(f"Database {url}: {_NO_TABLES} ({cause})")
    if not state and isinstance(cause, psycopg.OperationalError):
        return DatabaseUnavailable(
            f"Database {url} cannot be reached: {str(cause).strip()}. Check that the server runs, and the URL."
        )
    return _look_up(_POSTGRES, state, url, cause)


def _look_up(
    table: tuple[tuple[str, type[DatabaseUnavailable], str], ...], code: str, url: str, cause: Exception
) -> DatabaseError | None:
    for prefix, kind, mend in table:
        if code.startswith(prefix):
            return kind(f"Database {url}: {mend} Nothing of this transaction was written. ({str(cause).strip()})")
    return None
