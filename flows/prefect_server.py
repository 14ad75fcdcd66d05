"""Where Prefect's API is found: the user's own server, the one that ``omniloop up`` runs, or one started for a moment.

A server of ours listens on loopback, asks for a password that only the home's owner can read, and lets no page of
another origin in, because whoever may talk to it may start flows. This module imports no prefect: that takes a second.
"""

import json
import logging
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from filelock import FileLock, Timeout

from flows.errors import ServerError
from flows.telemetry import OFF

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
USUAL_PORT = 4200
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 8.0


@dataclass(frozen=True, kw_only=True)
class Api:
    """A Prefect API and the key to it."""

    url: str
    """Ends in ``/api``."""
    auth: str | None = None
    """``user:password``, or None for a server that asks for none."""

    @property
    def pages(self) -> str:
        """Where a person looks at it."""
        return self.url.removesuffix("/api")

    def healthy(self, timeout_s: float = 2.0) -> bool:
        """Does it answer, and take our key?"""
        auth = httpx.BasicAuth(*self.auth.split(":", 1)) if self.auth else None
        try:
            answer = httpx.get(f"{self.url}/admin/version", auth=auth, timeout=timeout_s, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.is_success

    def environment(self, home: Path) -> dict[str, str]:
        """What a process needs in its environment to use this API."""
        key = {"PREFECT_API_AUTH_STRING": self.auth} if self.auth else {}
        return {"PREFECT_HOME": str(folder(home)), "PREFECT_API_URL": self.url, **key}


def folder(home: Path) -> Path:
    """Where Prefect keeps its own things in the home, created on first use."""
    path = home / "prefect"
    path.mkdir(parents=True, exist_ok=True)
    return path


def users_own(environ: Mapping[str, str] | None = None) -> Api | None:
    """The server that the user names with ``PREFECT_API_URL``, if any."""
    present = os.environ if environ is None else environ
    url = present.get("PREFECT_API_URL", "").rstrip("/")
    return Api(url=url, auth=present.get("PREFECT_API_AUTH_STRING")) if url else None


def announced(home: Path) -> Api | None:
    """The server that ``omniloop up`` runs for this home, if it has announced one and it answers."""
    try:
        content = json.loads(_announcement(home).read_text(encoding="utf-8"))
        api = Api(url=content["url"], auth=content["auth"])
    except (OSError, ValueError, KeyError):
        return None
    return api if api.healthy() else None


def announce(home: Path, api: Api) -> None:
    """Let other processes of this user find ``api``; the file is readable by them alone."""
    path = _announcement(home)
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({"url": api.url, "auth": api.auth}, file)
    temporary.replace(path)


def withdraw(home: Path) -> None:
    """Undo :func:`announce`."""
    _announcement(home).unlink(missing_ok=True)


def new_api(preferred_port: int = USUAL_PORT) -> Api:
    """An address on loopback that is free now (``preferred_port`` if it is), with a fresh password."""
    for port in (preferred_port, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            number = probe.getsockname()[1]
            return Api(url=f"http://{HOST}:{number}/api", auth=f"omniloop:{secrets.token_urlsafe(24)}")
    raise ServerError(f"No port is free on {HOST}. Stop some servers and try again.")


def command(home: Path, api: Api) -> tuple[str, ...]:
    """The command that serves ``api``; it needs :func:`server_environment`.

    The application is looked for in the environment alone, never in the folder where the user happens to be.
    """
    application = ("--factory", "prefect.server.api.server:create_app", "--app-dir", str(folder(home)))
    address = ("--host", HOST, "--port", str(httpx.URL(api.url).port), "--timeout-keep-alive", "5")
    return (sys.executable, "-P", "-m", "uvicorn", *application, *address)


def server_environment(home: Path, api: Api, *, pages: bool = True, services: bool = True) -> dict[str, str]:
    """What the server needs in its environment.

    ``services`` False leaves out what fires schedules, for a server that lives for one command.
    """
    return {
        **OFF,
        "PREFECT_HOME": str(folder(home)),
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(httpx.URL(api.url).port),
        "PREFECT_SERVER_API_AUTH_STRING": api.auth or "",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": api.pages,
        "PREFECT_SERVER_UI_API_URL": api.url,
        "PREFECT_SERVER_UI_ENABLED": str(pages).lower(),
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(folder(home) / "pages"),
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "10",  # a new schedule is seen after this, not after a minute
        "PREFECT__SERVER_FINAL": "1",
        **({} if services else {"PREFECT__SERVER_WEBSERVER_ONLY": "1"}),
    }


@contextmanager
def prefect_api(home: Path, *, services: bool = False) -> Iterator[Api]:
    """A Prefect API for the block: the user's own, else the one ``up`` runs here, else one started for the block.

    Inside the block flows and clients of this process use it. Starting one takes 8 to 30 seconds.
    Raises :class:`ServerError` when the user's own does not answer or none can be started.
    """
    own = users_own()
    if own and not own.healthy(timeout_s=10):
        raise ServerError(
            f"Prefect's API at {own.url} does not answer, or refuses the key. "
            "Start that server, mend PREFECT_API_URL and PREFECT_API_AUTH_STRING, or unset both to use one of our own."
        )
    found = own or announced(home)
    if found:
        with _used(found, home):
            yield found
        return
    with only_server(home, wait_s=60), _started(home, services=services) as api, _used(api, home):
        yield api


@contextmanager
def only_server(home: Path, *, wait_s: float) -> Iterator[None]:
    """Be the only process that runs a Prefect server on this home's database. Raises :class:`ServerError`."""
    lock = FileLock(folder(home) / "server.lock")
    try:
        lock.acquire(timeout=wait_s)
    except Timeout as error:
        raise ServerError(
            f"Another process runs a Prefect server in {home} and did not end within {wait_s:g} s. "
            "Wait until that command ends, or give this one a home of its own with OMNI_HOME."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _started(home: Path, *, services: bool) -> Iterator[Api]:
    """A server for the block, stopped afterwards."""
    api = new_api(preferred_port=0)
    log = folder(home) / "server-for-a-moment.log"
    environ = {**os.environ, **server_environment(home, api, pages=False, services=services)}
    with log.open("wb") as output:
        server = subprocess.Popen(command(home, api), env=environ, stdout=output, stderr=output, start_new_session=True)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not api.healthy():
            if server.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"Prefect's server did not start. Its last words:\n{last_words(log)}")
            time.sleep(0.2)
        yield api
    finally:
        server.terminate()
        try:
            server.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextmanager
def _used(api: Api, home: Path) -> Iterator[None]:
    """Make Prefect use ``api`` in this process, whether or not it is imported already."""
    wanted = {**OFF, **api.environment(home)}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, temporary_settings

        updates: dict[Any, Any] = {PREFECT_API_URL: api.url, PREFECT_HOME: folder(home)}
        updates[PREFECT_API_AUTH_STRING] = api.auth
        with temporary_settings(updates=updates):
            try:
                yield
            finally:
                _send_what_waits()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _send_what_waits() -> None:
    """Send logs and events that Prefect still holds back, while there is a server to take them."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()
    EventsWorker.drain_all(timeout=STOP_TIMEOUT_S)


def last_words(log: Path, lines: int = 15) -> str:
    """The end of a log file; says so if there is nothing."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return "\n".join(text.splitlines()[-lines:]) or f"(nothing in {log})"


def _announcement(home: Path) -> Path:
    return folder(home) / "server.json"
