"""Runs the service in the foreground until SIGTERM or SIGINT, draining what is on its way."""

import logging
from collections.abc import Callable

import uvicorn

from flows.service.app import create_app
from flows.service.listening import listen
from flows.workspace import Workspace


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
