"""Keys of the service's clients: made here, shown once, remembered only by their hash."""

from __future__ import annotations

import hashlib
import secrets

from db.records.keys import NewKey

MARK = "omni"


def new_key(name: str, scopes: tuple[str, ...], *, budget: float | None = None) -> tuple[str, NewKey]:
    """A key of 256 random bits, to be shown once, and what is remembered of it.

    >>> key, kept = new_key("app", ("predict",))
    >>> key.startswith(f"omni_{kept.prefix}_"), kept.digest == digest_of(key), key in str(kept)
    (True, True, False)
    """
    prefix = secrets.token_hex(4)
    key = f"{MARK}_{prefix}_{secrets.token_hex(32)}"
    detail = {} if budget is None else {"budget": budget}
    return key, NewKey(name=name, prefix=prefix, digest=digest_of(key), scopes=scopes, detail=detail)


def digest_of(key: str) -> str:
    """SHA-256 of a key or link, in hex. Enough for random ones; looking digests up tells nothing by its timing."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
