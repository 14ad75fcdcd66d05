"""Runs the service in the foreground until SIGTERM or SIGINT, draining what is on its way."""

import logging
import socket
from collections.abc import Callable

import uvicorn

from flows.home import HomeError
from flows.service.app import create_app
from flows.service.config import ServiceConfig
from flows.workspace import Workspace

BACKLOG = 2048


def serve(ws: Workspace, say: Callable[[str], None]) -> None:
    """Listen and answer. Raises :class:`flows.home.HomeError` when the address is taken."""
    config = ws.settings.service
    listener = listen(config)
    host, port = listener.getsockname()[:2]
    say(f"answering at http://{f'[{host}]' if ':' in host else host}:{port}/v1; Ctrl-C stops it")
    with listener:
        server(ws).run(sockets=[listener])
    logging.getLogger(__name__).info("drained and stopped")


def server(ws: Workspace) -> uvicorn.Server:
    """The HTTP server of a workspace's service; it keeps the log as the driver has set it up."""
    return uvicorn.Server(
        uvicorn.Config(
            create_app(ws),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=ws.settings.service.drain_s,
        )
    )


def listen(config: ServiceConfig) -> socket.socket:
    """A socket bound to the service's address."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise HomeError(
            f"The service cannot listen at {config.host}:{config.port}: {error.strerror}. "
            "Stop what listens there, or set OMNI_SERVICE__PORT to another port."
        ) from error
