"""Whom a service that asks nobody for a key answers: those on this machine who call it by its own name.

A page in a browser on this machine can reach the service too, by a name that its own server lets point here. Its
requests still bear that name.
"""

from collections.abc import Collection, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from flows.service.faults import Fault, shown

ONCE = (b"authorization", b"host", b"origin")
"""Headers of which there may be one."""


def check_once(headers: Collection[tuple[bytes, bytes]]) -> None:
    """Raise :class:`Fault` when a header that says who asks or what for is there twice."""
    names = [name for name, _ in headers if name in ONCE]
    for name in names:
        if names.count(name) > 1:
            told = name.decode().title()
            raise Fault(400, f"The request has more than one {told} header.", told, "Send one.")


def check_place(headers: Mapping[bytes, bytes], own: Collection[str]) -> None:
    """Raise :class:`Fault` unless the request names one of our `own` hosts, and no page of another one sends it."""
    mend = "Ask at http://127.0.0.1 by its port, or make a key with `omniloop keys create` and send it."
    host = headers.get(b"host")
    if host is not None and host_of(f"//{host.decode('latin-1')}") not in own:
        told = shown(host.decode("latin-1"))
        raise Fault(403, "The Host header names another host, and this service is open to its own machine.", told, mend)
    origin = headers.get(b"origin")
    if origin is not None and host_of(origin.decode("latin-1")) not in own:
        told = shown(origin.decode("latin-1"))
        raise Fault(403, "Requests of web pages of another origin are refused.", told, mend)


@lru_cache(256)
def host_of(url: str) -> str:
    """The host of a URL in small letters, without port and brackets; empty if there is none.

    >>> host_of("//[::1]:8765"), host_of("https://Example.org:80/x"), host_of("null"), host_of("//a@b:c")
    ('::1', 'example.org', '', 'b')
    """
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
