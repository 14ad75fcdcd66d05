"""The address that the service listens at."""

import socket
from typing import Protocol

from flows.home import HomeError

BACKLOG = 2048


class Address(Protocol):
    """Where something listens."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


def listen(config: Address, *, what: str = "service") -> socket.socket:
    """A socket bound to the address of what the settings call so."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise HomeError(
            f"The {what} cannot listen at {config.host}:{config.port}: {error.strerror}. "
            f"Stop what listens there, or set OMNI_{what.upper()}__PORT to another port."
        ) from error
