"""Runs the service in the foreground until SIGTERM or SIGINT, draining what is on its way."""

import gc
import logging
import sys
from collections.abc import Callable

import uvicorn

from db.repository import keys
from flows.service.app import create_app
from flows.service.bounded import bounded
from flows.service.config import LOOPBACK
from flows.service.listening import listen
from flows.workspace import Workspace


def serve(ws: Workspace, say: Callable[[str], None]) -> None:
    """Listen and answer. Raises :class:`flows.home.HomeError` when the address is taken, `ValueError` without a key."""
    config = ws.settings.service
    check_closed(ws)
    listener = listen(config)
    host, port = listener.getsockname()[:2]
    say(f"answering at http://{f'[{host}]' if ':' in host else host}:{port}/v1; Ctrl-C stops it")
    with listener:
        http = server(ws)
        gc.collect()
        gc.freeze()  # what is loaded stays: no collection of garbage has to walk through it again
        http.run(sockets=[listener])
    logging.getLogger(__name__).info("drained and stopped")


def check_closed(ws: Workspace) -> None:
    """`ValueError` if the network could reach the service and there is no key to ask it for."""
    config = ws.settings.service
    if config.host in LOOPBACK or config.api_key:
        return
    with ws.database.read() as session:
        if any(key.revoked_at is None for key in keys.list_keys(session)):
            return
    raise ValueError(
        f"service.host {config.host!r} is open to the network but there is no key. Make one with "
        "`omniloop keys create NAME --scope admin`, or set OMNI_SERVICE__API_KEY."
    )


def server(ws: Workspace) -> uvicorn.Server:
    """The HTTP server of a workspace's service; it keeps the log as the driver has set it up."""
    config = ws.settings.service
    return uvicorn.Server(
        uvicorn.Config(
            create_app(ws),
            http=bounded(read_timeout_s=config.read_timeout_s, max_connections=config.max_connections),
            limit_concurrency=config.max_connections,
            loop="uvloop" if sys.platform != "win32" else "asyncio",
            ws="none",
            proxy_headers=False,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=config.drain_s,
        )
    )
