"""Content that requests name by URI: read only below allowed prefixes, bounded in bytes and time, off the event loop.

A URI must begin with a prefix to the letter and hold no way out of it: no `..` however it is written, no user, no
fragment. Files are followed to where they really lie, which must be below the prefix. Of http hosts the address is
looked up once, must not be one of this network's own unless the prefix names that very address, and is what the
connection goes to; redirects are not followed.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from flows.service.faults import Fault, shown
from flows.service.forms import Inline, Remote
from flows.service.remote import Resolve, Source, addresses_of, read_file, read_http
from omni_model.data.errors import RowError
from omni_model.data.refs import read_ref

THREADS = 4
MAX_LAYERS = 5
"""Percent-encodings inside each other that are unwrapped to look for a way out."""


class Fetcher:
    """Reads URIs below its prefixes."""

    def __init__(
        self,
        prefixes: Sequence[str],
        *,
        max_bytes: int,
        timeout_s: float,
        resolve: Resolve = addresses_of,
    ) -> None:
        self._prefixes, self._max_bytes, self._timeout_s, self._resolve = prefixes, max_bytes, timeout_s, resolve
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="fetcher")

    async def fetch(self, inputs: Mapping[str, str | Inline | Remote]) -> dict[str, str | Inline | bytes]:
        """The inputs with the content of their URIs in their place. Raises :class:`Fault`, which names the input."""
        deadline = time.monotonic() + self._timeout_s
        left = self._max_bytes
        found: dict[str, str | Inline | bytes] = {}
        for name, value in inputs.items():
            if not isinstance(value, Remote):
                found[name] = value
                continue
            read = partial(self._read, self._allowed(name, value.uri), left, deadline)
            found[name] = content = await self._within(deadline, name, value.uri, read)
            left -= len(content)
        return found

    def close(self) -> None:
        """End the threads, once they are done with what they read."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _within(self, deadline: float, name: str, uri: str, read: Callable[[], bytes]) -> bytes:
        waiting = asyncio.get_running_loop().run_in_executor(self._threads, read)
        try:
            return await asyncio.wait_for(waiting, max(0.0, deadline - time.monotonic()))
        except TimeoutError as error:
            fact = f"inputs.{name}.uri was not read within {self._timeout_s:g} s."
            raise Fault(
                422, fact, shown(uri), "Send the content itself, or raise OMNI_SERVICE__URI_TIMEOUT_S."
            ) from error
        except RowError as error:
            fact, _, mend = str(error).rpartition(". ")
            raise Fault(422, f"inputs.{name}.uri: {fact}.", shown(uri), mend) from error
        except OSError as error:
            fact = f"inputs.{name}.uri: its store does not answer ({type(error).__name__})."
            raise Fault(503, fact, shown(uri), "Ask again later, or send the content itself.", RETRY) from error

    def _allowed(self, name: str, uri: str) -> Source:
        """What may be read. Raises :class:`Fault`."""
        prefix = next((prefix for prefix in self._prefixes if uri.startswith(prefix)), None)
        if prefix is None:
            says = "does not lie below an allowed prefix" if self._prefixes else "is not read: no prefix is allowed"
            mend = 'Send the content as {"base64": "…"}, or add its prefix to OMNI_SERVICE__URI_PREFIXES.'
            raise Fault(422, f"inputs.{name}.uri {says}.", shown(uri), mend)
        if leads_out(uri, len(prefix)):
            mend = "Write the plain path of the file, without .., fragment, wildcard or control characters."
            raise Fault(422, f"inputs.{name}.uri may lead out of its prefix.", shown(uri), mend)
        return Source(uri=uri, prefix=prefix)

    def _read(self, source: Source, max_bytes: int, deadline: float) -> bytes:
        match source.scheme:
            case "file":
                return read_file(source, max_bytes)
            case "http" | "https":
                return read_http(source, max_bytes, deadline, self._resolve)
            case scheme:
                return read_ref(source.uri, base=Path(), max_bytes=max_bytes, schemes=(scheme,))


RETRY = {"Retry-After": "1"}


def leads_out(uri: str, start: int) -> bool:
    """Whether the part of a URI after `start` may lead elsewhere than below what is before it.

    >>> rests = "b/c.png?x=1", "../b", "%2e%2e/b", "%252e%252e%2fb", "b#c"
    >>> [leads_out("https://host/a/" + rest, 15) for rest in rests]
    [False, True, True, True, True]
    >>> leads_out("s3://bucket/a*", 12), leads_out("file:///srv/..b/c", 12)
    (True, False)
    """
    if any(ord(char) <= 32 or char == "#" for char in uri):
        return True
    is_http = uri.startswith("http")
    rest = uri[start:]
    query = rest.find("?")
    if query >= 0:
        if not is_http:
            return True
        rest = rest[:query]
    for _ in range(MAX_LAYERS):
        if any(ord(char) < 32 or ord(char) == 127 or char == "\\" for char in rest):
            return True
        if not is_http and ("::" in rest or any(char in "*[]{}?" for char in rest)):  # fsspec's own words
            return True
        if any(part in (".", "..") for part in rest.split("/")):
            return True
        inner = unquote(rest)
        if inner == rest:
            return False
        rest = inner
    return True
