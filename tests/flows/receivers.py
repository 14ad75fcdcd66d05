"""Real receivers on loopback: a mail server and a webhook, which can be stopped, started again, and made to fail."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Mailbox:
    """What a mail server was given."""

    mails: list[Message] = field(default_factory=list)
    refuse_next: int = 0
    drop_next: int = 0
    """Mails that are taken, after which the connection is cut before the sender learns of it."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd calls it so
        """Take a mail, or refuse it for now."""
        if self.refuse_next:
            self.refuse_next -= 1
            return "451 Not now"
        assert isinstance(envelope.content, bytes)
        self.mails.append(message_from_bytes(envelope.content))
        if self.drop_next:
            self.drop_next -= 1
            assert isinstance(server.transport, asyncio.WriteTransport)
            server.transport.abort()
        return "250 OK"

    def keys(self) -> list[str]:
        """The idempotency keys, in the order of arrival."""
        return [str(mail["X-Omniloop-Key"]) for mail in self.mails]


class MailServer:
    """A real SMTP server on a port of its own that survives its restarts."""

    def __init__(self) -> None:
        self.box = Mailbox()
        self.port = free_port()
        self._controller: Controller | None = None

    @property
    def address(self) -> str:
        return f"mailto://127.0.0.1:{self.port}?from=loop@example.org&to=ops@example.org"

    def start(self) -> None:
        self._controller = Controller(self.box, hostname="127.0.0.1", port=self.port)
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None


@dataclass
class Post:
    """One request that a webhook got."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Hook:
    """A real webhook receiver. `answer` says what a post gets: a status, or 0 to hang up after reading it."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.answer: Callable[[Post], int] = lambda _: 200
        self.headers: dict[str, str] = {}
        self.port = free_port()
        self._server: ThreadingHTTPServer | None = None

    @property
    def address(self) -> str:
        return f"hook+http://127.0.0.1:{self.port}/a-secret-path"

    def keys(self) -> list[str]:
        """The idempotency keys, in the order of arrival, repeats too."""
        return [post.headers["webhook-id"] for post in self.posts]

    def start(self) -> None:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                post = Post({name.lower(): value for name, value in self.headers.items()}, body)
                status = hook.answer(post)
                hook.posts.append(post)
                if not status:
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(status)
                for name, value in hook.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
