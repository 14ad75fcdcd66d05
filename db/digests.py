"""The name of bytes: their BLAKE2b-256 digest, in hex."""

from __future__ import annotations

import hashlib
from pathlib import Path

DIGEST_CHARS = 64
CHUNK_BYTES = 1 << 20


def new_digest() -> hashlib.blake2b:
    """A digest to be fed bytes."""
    return hashlib.blake2b(digest_size=DIGEST_CHARS // 2)


def digest_of(data: bytes) -> str:
    """The name of bytes.

    >>> digest_of(b"")[:16]
    '0e5751c026e543b2'
    """
    return hashlib.blake2b(data, digest_size=DIGEST_CHARS // 2).hexdigest()


def digest_file(path: Path) -> tuple[str, int]:
    """(name, size in bytes) of a file's bytes, read in chunks."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, new_digest).hexdigest(), source.tell()


def is_digest(text: object) -> bool:
    """Whether this could be the name of bytes.

    >>> is_digest(digest_of(b"")), is_digest("../../etc/passwd"), is_digest(None)
    (True, False, False)
    """
    return isinstance(text, str) and len(text) == DIGEST_CHARS and set(text) <= set("0123456789abcdef")
