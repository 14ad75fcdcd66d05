"""Reading one file or one http address, with a bound on what comes and no way to elsewhere."""

import ipaddress
import os
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from omni_model.data.errors import RowError

Resolve = Callable[[str, int], list[str]]
"""The addresses of a host, for a port."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A URI below an allowed prefix."""

    uri: str
    prefix: str

    @property
    def scheme(self) -> str:
        """What is before `://`."""
        return self.uri.partition("://")[0]


def read_file(source: Source, max_bytes: int) -> bytes:
    """A file that really lies below the prefix's folder. Raises `RowError`."""
    root, path = (Path(os.path.realpath(path_of(uri))) for uri in (source.prefix, source.uri))
    if not path.is_relative_to(root):
        raise RowError("The file lies outside the allowed folder. Copy it there.")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise RowError(f"The file cannot be read: {error.strerror}. Correct the URI or the rights.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # a folder, or a pipe, which would be waited for
        os.close(descriptor)
        raise RowError("It is no regular file. Name a file.")
    with open(descriptor, "rb") as file:
        if Path(os.path.realpath(path)) != path:  # a folder on the way was replaced by a link meanwhile
            raise RowError("The file lies outside the allowed folder. Copy it there.")
        content = file.read(max_bytes + 1)
    check_size(content, max_bytes)
    return content


def path_of(uri: str) -> str:
    """The path of a file's URI.

    >>> path_of("file:///srv/a%20b.png"), path_of("file://localhost/srv/")
    ('/srv/a b.png', '/srv/')
    """
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise RowError(f"{parts.netloc} is another machine. Leave the host of a file's URI out.")
    return unquote(parts.path)


def read_http(source: Source, max_bytes: int, deadline: float, resolve: Resolve) -> bytes:
    """What an address gives, asked once. Raises `RowError`, and `OSError` for a host that does not answer."""
    url = httpx.URL(source.uri)
    port = url.port or (443 if url.scheme == "https" else 80)
    address = permitted(resolve(url.host, port), own=httpx.URL(source.prefix).host)
    timeout_s = max(0.01, deadline - time.monotonic())
    headers = {"Host": url.netloc.decode(), "Accept-Encoding": "identity", "User-Agent": "omniloop"}
    try:
        with (
            httpx.Client(trust_env=False, follow_redirects=False, timeout=timeout_s) as client,
            client.stream(
                "GET", url.copy_with(host=address), headers=headers, extensions={"sni_hostname": url.host}
            ) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise RowError(f"The host answers {answer.status_code}. Correct the URI; redirects are not followed.")
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise RowError("The host sends it packed. Serve it as it is.")
            content = bytearray()
            for piece in answer.iter_raw():
                content += piece
                check_size(content, max_bytes)
                if time.monotonic() > deadline:
                    raise TimeoutError
            return bytes(content)
    except httpx.HTTPError as error:
        raise ConnectionError(str(error)) from error


def check_size(content: bytes | bytearray, max_bytes: int) -> None:
    """Raise `RowError` for content that is too large."""
    if len(content) > max_bytes:
        raise RowError(f"It has more than the {max_bytes:,} bytes allowed. Store it smaller.")


def permitted(addresses: list[str], *, own: str) -> str:
    """The first of a host's addresses. `RowError` if one of them is none of the internet's.

    `own` is the prefix's host: named as an address there, or as localhost, it may be any.

    >>> permitted(["93.184.216.34"], own="example.org")
    '93.184.216.34'
    >>> permitted(["93.184.216.34", "127.0.0.1"], own="example.org")
    Traceback (most recent call last):
    omni_model.data.errors.RowError: The host is 127.0.0.1, of a network's own. Name that address in the prefix.
    >>> permitted(["127.0.0.1"], own="127.0.0.1")
    '127.0.0.1'
    """
    if not addresses:
        raise RowError("The host is not known. Correct the URI.")
    if own != "localhost" and not is_address(own):
        for address in addresses:
            if not is_public(address):
                raise RowError(f"The host is {address}, of a network's own. Name that address in the prefix.")
    return addresses[0]


def is_address(host: str) -> bool:
    """Whether a host is written as an address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_public(address: str) -> bool:
    """Whether an address is one of the internet's.

    >>> [is_public(each) for each in ("8.8.8.8", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "224.0.0.1")]
    [True, False, False, False, False, False]
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    return found.is_global and not found.is_multicast and (inner is None or is_public(str(inner)))


def addresses_of(host: str, port: int) -> list[str]:
    """Looked up once, by the system."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise RowError("The host is not known. Correct the URI.") from error
    return [str(info[4][0]) for info in found]
