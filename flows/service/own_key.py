"""The key by which the pulse of a home asks its own service, kept in the home for its owner alone; and salts of it."""

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

from flows.home import HomeError

FILE = "service.key"


def own_key(home: Path) -> str:
    """The home's key, made on first use. Raises :class:`flows.home.HomeError` when it cannot be read or written."""
    place = home / FILE
    try:
        if not place.exists():
            partial = place.with_name(f"{FILE}.{os.getpid()}.{secrets.token_hex(4)}")
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
            with suppress(FileExistsError):  # whoever comes first; the others read that one
                os.link(partial, place)
            partial.unlink()
        return place.read_text().strip()
    except OSError as error:
        mend = "Mend its permissions, or remove it."
        raise HomeError(f"The key {place} cannot be used: {error.strerror}. {mend}") from error


def own_salt(home: Path, purpose: str) -> bytes:
    """A secret of the home for one purpose, 32 bytes, the same in every process. Raises like :func:`own_key`."""
    return hmac.digest(own_key(home).encode(), purpose.encode(), "sha256")
