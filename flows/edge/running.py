"""Runs the edge in the foreground until SIGTERM or SIGINT, draining what is on its way."""

import gc
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from flows.edge.app import create_app
from flows.edge.config import EdgeConfig
from flows.errors import LoopError
from flows.service.bounded import bounded

BACKLOG = 512


class AddressTaken(LoopError, OSError):
    """The edge cannot listen where it was told to."""


def serve(folder: Path, config: EdgeConfig, spool: Path, say: Callable[[str], None]) -> None:
    """Listen and answer. Raises :class:`AddressTaken`, `BundleError`, `SpoolError`."""
    with listen(config) as listener:
        http = server(folder, config, spool)
        host, port = listener.getsockname()[:2]
        cloud = f"below {config.confidence:g} {config.cloud} is asked" if config.cloud else "no cloud is named"
        say(f"answering at http://{f'[{host}]' if ':' in host else host}:{port}/v1; {cloud}; Ctrl-C stops it")
        gc.collect()
        gc.freeze()  # what is loaded stays: no collection of garbage has to walk through it again
        http.run(sockets=[listener])


def server(folder: Path, config: EdgeConfig, spool: Path) -> uvicorn.Server:
    """The HTTP server over a bundle; it keeps the log as the driver has set it up."""
    app = create_app(folder, config, spool)
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=bounded(read_timeout_s=config.read_timeout_s, max_connections=config.max_connections),
            limit_concurrency=config.max_connections,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=config.drain_s,
        )
    )


def listen(config: EdgeConfig) -> socket.socket:
    """A socket bound to the edge's address. Raises :class:`AddressTaken`."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise AddressTaken(
            f"The edge cannot listen at {config.host}:{config.port}: {error.strerror}. "
            "Stop what listens there, or name another port with --port."
        ) from error
