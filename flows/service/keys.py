"""Who may ask what: clients' keys, looked up by their hash in a table that is never older than half a second.

A revoked key stops opening anything within a second. While the database cannot be read the table as it was goes on:
known keys open what they opened, unknown ones nothing.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from db.engine import Database
from db.errors import DatabaseError
from db.keys import digest_of
from db.records.keys import SCOPES, StoredKey
from db.repository import keys

logger = logging.getLogger(__name__)

MAX_AGE_S = 0.5
"""Age from which the table is read anew before a key is looked up."""
PATIENCE_S = 0.25
"""How long a request waits for that; then the table as it is decides."""
ADMIN = "admin"
ANY = "any"
"""The scope of what every valid key opens."""
OPEN = "open"
"""The scope of what is answered without a key."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks."""

    name: str = ""
    """The key's name; empty where nobody is asked for a key."""
    prefix: str = ""
    scopes: frozenset[str]
    budget: float | None = None
    """Share of the full cost that each answer may have at most; None: not bounded."""

    def may(self, scope: str) -> bool:
        """Whether the caller may use what has this scope.

        >>> Caller(scopes=frozenset({"predict"})).may("approve"), Caller(scopes=frozenset({"admin"})).may("approve")
        (False, True)
        """
        return scope in (ANY, OPEN) or scope in self.scopes or ADMIN in self.scopes


ANYBODY = Caller(scopes=frozenset(SCOPES))
"""The caller where nobody is asked for a key."""
PULSE = Caller(name="pulse", scopes=frozenset({"operate"}))
"""Who keeps the home's own key; it reads the metrics."""


def callers(stored: list[StoredKey], master: str, own: str = "") -> dict[str, Caller]:
    """Digest to caller: the keys in force, `master`, which may do everything, and `own`, the pulse's; empty: none."""
    found = {
        key.digest: Caller(
            name=key.name, prefix=key.prefix, scopes=frozenset(key.scopes), budget=key.detail.get("budget")
        )
        for key in stored
        if key.revoked_at is None
    }
    if own:
        found[digest_of(own)] = PULSE
    if master:
        found[digest_of(master)] = Caller(name="OMNI_SERVICE__API_KEY", scopes=frozenset({ADMIN}))
    return found


class KeyTable:
    """The keys in force. With `may_be_open`, everybody may do everything until the first key was ever created."""

    def __init__(
        self,
        database: Database,
        *,
        master: str,
        may_be_open: bool,
        own: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._master, self._own, self._clock = database, master, own, clock
        self._may_be_open = may_be_open and not master
        self._callers: Mapping[str, Caller] = callers([], master, own)
        self._is_open = False
        self._read_at = float("-inf")
        self._reading: asyncio.Future[None] | None = None
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="keys")
        self._read()

    async def caller(self, key: str) -> Caller | None:
        """Who sends this key (empty: none); None for nobody who may come in."""
        if self._clock() - self._read_at > MAX_AGE_S:
            await self._refresh()
        if self._is_open:
            return ANYBODY
        return self._callers.get(digest_of(key)) if key else None

    def close(self) -> None:
        """End the thread."""
        self._reader.shutdown(wait=False)

    async def _refresh(self) -> None:
        """Read the table anew, once for all that wait, and not for longer than their patience."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().run_in_executor(self._reader, self._read)
        await asyncio.wait([self._reading], timeout=PATIENCE_S)

    def _read(self) -> None:
        began = self._clock()
        try:
            with self._database.read() as session:
                stored = keys.list_keys(session)
        except DatabaseError as error:
            logger.warning("the keys could not be read; the known ones go on: %s", error)
        else:
            self._callers = callers(stored, self._master, self._own)
            self._is_open = self._may_be_open and not stored
        self._read_at = began
