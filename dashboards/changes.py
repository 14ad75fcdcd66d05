"""Tells open pages what has changed: one look at the database a second for all of them, none while nobody looks."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from starlette.responses import Response, StreamingResponse

from dashboards.guard import FIELD, bearer_of, by_key, by_session
from dashboards.problems import Problem
from dashboards.site import Site
from db.errors import DatabaseError
from db.repository import changes

logger = logging.getLogger(__name__)
EVERY_S = 1.0
ASK_AGAIN_S = 30.0
"""How often it is looked whether a listener is still signed in; it also keeps the connection alive."""
MOST = 100
"""Streams of one person, each a page that is open; so nobody takes the connections of everybody."""


class Hub:
    """Remembers the tokens and wakes whoever waits."""

    def __init__(self, site: Site, every_s: float = EVERY_S) -> None:
        self._site, self._every_s = site, every_s
        self._listeners: set[asyncio.Queue[frozenset[str]]] = set()
        self._task: asyncio.Task[None] | None = None

    async def listen(self) -> AsyncIterator[frozenset[str]]:
        """The topics that changed, each time some have; nothing, every half minute at least."""
        queue: asyncio.Queue[frozenset[str]] = asyncio.Queue()
        self._listeners.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        try:
            while True:
                try:
                    changed = await asyncio.wait_for(queue.get(), ASK_AGAIN_S)
                    while not queue.empty():
                        changed |= queue.get_nowait()
                    yield changed
                except TimeoutError:
                    yield frozenset()
        finally:
            self._listeners.discard(queue)

    async def _watch(self) -> None:
        known: dict[str, str] | None = None
        while self._listeners:
            try:
                now = await asyncio.to_thread(self._look)
            except DatabaseError as error:
                logger.warning("It could not be looked what has changed: %s", error)
                now = known or {}
            if known is not None and now != known:
                changed = frozenset(topic for topic in now if now[topic] != known.get(topic))
                for queue in self._listeners:
                    queue.put_nowait(changed)
            known = now
            await asyncio.sleep(self._every_s)

    def _look(self) -> dict[str, str]:
        with self._site.database.read() as session:
            return changes.tokens(session)


def add_changes(app: FastAPI, hub: Hub) -> None:
    """`/events`: a stream of server-sent events, each the list of topics that have changed."""

    open_by: Counter[str] = Counter()

    async def events(request: Request) -> Response:
        name = request.state.person.name
        if open_by[name] >= MOST:
            raise Problem(429, f"{MOST} pages of yours are open and wait for news. Close some.")
        return StreamingResponse(
            counted(told(request, hub), open_by, name),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store"},
        )

    app.add_api_route("/events", events, methods=["GET"], openapi_extra={FIELD: "viewer"}, response_class=Response)


async def counted(stream: AsyncIterator[str], open_by: Counter[str], name: str) -> AsyncIterator[str]:
    """The stream, counted while it is read."""
    open_by[name] += 1
    try:
        async for piece in stream:
            yield piece
    finally:
        open_by[name] -= 1


async def told(request: Request, hub: Hub) -> AsyncIterator[str]:
    """The stream of one page; it ends when whoever opened it is not let in any more."""
    yield "retry: 2000\n\n"
    async for changed in hub.listen():
        if not changed:
            if not await asyncio.to_thread(still_in, request):
                return
            yield ": still here\n\n"
        else:
            yield f"event: changed\ndata: {json.dumps(sorted(changed))}\n\n"


def still_in(request: Request) -> bool:
    """Whether the session or key of a stream is still good."""
    try:
        return (by_key(request, key) if (key := bearer_of(request)) else by_session(request)) is not None
    except Problem:
        return False
