"""The stream that tells open pages what has changed: what it says, and how many one person may have."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from dashboards import changes
from dashboards.guard import digest_of
from db.repository import triggers, users
from tests.dashboards.browsing import base, served
from tests.dashboards.places import Place

PATIENCE_S = 20.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Place]:
    """A site at a real address."""
    with served(tmp_path / "home") as place:
        yield place


def client(site: Place, role: str) -> httpx.Client:
    """Somebody who has signed in."""
    token, now = f"token of {role} {time.monotonic_ns()}", site.clock()
    with site.database.write() as session:
        users.open_session(session, role, digest_of(token), expires_at=now + timedelta(days=1), now=now)
    cookies = {f"omniloop_{site.wiring.port}": token}
    return httpx.Client(base_url=base(site), cookies=cookies, timeout=PATIENCE_S)


def test_a_change_is_told_by_its_topic(site: Place) -> None:
    told = threading.Event()

    def ask() -> None:
        """Again and again, since the first look may come after the first change."""
        while not told.wait(0.2):
            with site.database.write() as session:
                triggers.request(session, "drift", now=site.clock())

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        with client(site, "viewer") as viewer, viewer.stream("GET", "/events") as stream:
            lines = stream.iter_lines()
            assert next(lines) == "retry: 2000"
            assert next(line for line in lines if line.startswith("data:")) == 'data: ["rounds"]'
    finally:
        told.set()
        asking.join()


def test_nobody_listens_who_is_not_signed_in(site: Place) -> None:
    assert httpx.get(base(site) + "/events", headers={"Accept": "application/json"}).status_code == 401


def test_one_person_has_so_many_streams_and_no_more(site: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST", 2)
    with client(site, "viewer") as viewer, client(site, "operator") as operator, ExitStack() as streams:
        lines = [streams.enter_context(viewer.stream("GET", "/events")).iter_lines() for _ in range(2)]
        assert [next(each) for each in lines] == ["retry: 2000", "retry: 2000"]
        refused = viewer.get("/events", headers={"Accept": "application/json"})
        assert (refused.status_code, "Close some" in refused.text) == (429, True)
        assert streams.enter_context(operator.stream("GET", "/events")).status_code == 200
        streams.close()
        until, status = time.monotonic() + PATIENCE_S, 429
        while status == 429 and time.monotonic() < until:
            with viewer.stream("GET", "/events") as again:
                status = again.status_code
    assert status == 200
