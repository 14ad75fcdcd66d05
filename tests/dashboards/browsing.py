"""A site behind a real address, and a real browser in which somebody has signed in."""

from __future__ import annotations

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page

from db.repository import users
from tests.dashboards import places

LAPTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


@contextmanager
def served(home: Path, **changes: Any) -> Iterator[places.Place]:
    """The site of a home, answering at the address that its wiring names."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = places.made(home, port=listener.getsockname()[1], **changes)
        server = uvicorn.Server(uvicorn.Config(place.app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield place
        finally:
            server.should_exit = True
            thread.join(10)
            place.database.close()


def base(place: places.Place) -> str:
    """Where a served site is."""
    return f"http://127.0.0.1:{place.wiring.port}"


@dataclass
class Sight:
    """A browser's page, and what it complained of."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> int:
        """Open a page of the site; returns its status."""
        answer = self.page.goto(self.base + path)
        assert answer is not None
        return answer.status

    @property
    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@contextmanager
def looking(
    browser: Browser, place: places.Place, role: str | None = "admin", *, dark: bool = False, phone: bool = False
) -> Iterator[Sight]:
    """A window in which somebody of this role has signed in."""
    context = browser.new_context(color_scheme="dark" if dark else "light", viewport=PHONE if phone else LAPTOP)  # type: ignore[arg-type]
    try:
        if role is not None:
            sign_in(context, place, role)
        page = context.new_page()
        sight = Sight(page, base(place))
        page.on("console", lambda said: sight.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: sight.complaints.append(str(error)))
        yield sight
    finally:
        context.close()


def sign_in(context: BrowserContext, place: places.Place, role: str) -> None:
    """Give the window a session, as the sign-in page would."""
    token, now = f"token of {role} {time.monotonic_ns()}", place.clock()
    with place.database.write() as session:
        digest = hashlib.sha256(token.encode()).hexdigest()
        users.open_session(session, role, digest, expires_at=now + timedelta(days=1), now=now)
    name = f"omniloop_{place.wiring.port}"
    context.add_cookies([{"name": name, "value": token, "url": base(place)}])
