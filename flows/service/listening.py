"""The address that the service listens at."""

import socket

from flows.home import HomeError
from flows.service.config import ServiceConfig

BACKLOG = 2048


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
