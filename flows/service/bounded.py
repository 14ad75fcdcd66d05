"""HTTP connections that are bounded: bytes of a head, seconds until a request is there, and their number.

Between requests uvicorn closes a connection that is silent; before and within one it would wait for ever.
"""

import asyncio
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 2**10
"""Bytes of request line and headers at most."""
SPARE = 64
"""Connections above the limit that are told 503; further ones are closed at once."""


class HeadTooLarge(Exception):
    """Raised within the parser, which ends it."""


def bounded(*, read_timeout_s: float, max_connections: int) -> type[asyncio.Protocol]:
    """The protocol with its bounds, for uvicorn's `http`; its `limit_concurrency` is `max_connections`."""

    class Own(BoundedProtocol):
        timeout_s = read_timeout_s
        most = max_connections + SPARE

    return Own


class BoundedProtocol(HttpToolsProtocol):
    """A connection."""

    timeout_s = 30.0
    """Seconds within which a request must be there, its body included."""
    most = 1024 + SPARE

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._began: float | None = time.monotonic()
        """When the request that is not there yet began; None between requests."""
        self._head_bytes, self._has_body = 0, False
        self._was_asked, self._is_too_large = False, False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch it."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
            return
        self._timer = self.loop.call_later(self.timeout_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, counting what belongs to no body: heads, trailers, and what comes between chunks."""
        self._head_bytes += len(data)
        self._has_body = False
        super().data_received(data)
        if self._has_body:
            self._head_bytes = 0
        elif self._head_bytes > MAX_HEAD_BYTES and self._began is not None and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._began, self._was_asked = time.monotonic(), True

    def on_headers_complete(self) -> None:
        """Its head is there. Raises :class:`HeadTooLarge`."""
        if self._head_bytes > MAX_HEAD_BYTES and self._size_of_head() > MAX_HEAD_BYTES:
            self._is_too_large = True
            raise HeadTooLarge
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of its body is there."""
        self._has_body = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All of it is there."""
        self._began, self._head_bytes = None, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Tell that the parser ended."""
        if self._is_too_large:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _refuse_head(self) -> None:
        self._tell(b"431 Request Header Fields Too Large", f"A head may have {MAX_HEAD_BYTES:,} bytes. Send less.")

    def _look(self) -> None:
        """Close the connection if its request has taken too long, or look again later."""
        if self.transport.is_closing():
            return
        left_s = self.timeout_s
        if self._began is not None and not self.flow.read_paused:  # paused: it is we who do not read
            left_s += self._began - time.monotonic()
        if left_s > 0:
            self._timer = self.loop.call_later(left_s, self._look)
        elif not self._was_asked:
            self.transport.close()  # nobody ever asked anything
        else:
            self._tell(b"408 Request Timeout", f"A request must be there within {self.timeout_s:g} s. Send it faster.")

    def _tell(self, status: bytes, says: str) -> None:
        """Close the connection with an answer, if none is on its way."""
        cycle = getattr(self, "cycle", None)  # None before the first head is there
        if cycle is None or cycle.response_complete or not cycle.response_started:
            text = says.encode()
            head = b"HTTP/1.1 %b\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % (
                status,
                len(text),
            )
            self.transport.write(head + b"connection: close\r\n\r\n" + text)
        self.transport.close()
