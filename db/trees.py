"""A folder as one blob: the list of its files, each by path and digest. The digest of the list names the whole tree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from db.digests import digest_file, digest_of, is_digest

SCHEMA_VERSION = 1


def tree_digest(folder: Path) -> str:
    """The name of a folder's content: of every file's path and bytes, whatever the order, the dates or empty folders.

    `ValueError` for a folder without files, a link, or a special file.
    """
    return digest_of(write([(path, digest_file(folder / path)[0]) for path in files(folder)]))


def files(folder: Path) -> list[str]:
    """Paths of a folder's files relative to it, sorted, with forward slashes. Errors as of `tree_digest`."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}. Check the path.")
    found = []
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ValueError(f"{path} is a link or a special file. A stored folder holds plain files only; remove it.")
        if path.is_file():
            found.append(checked(path.relative_to(folder).as_posix()))
    if not found:
        raise ValueError(f"{folder} holds no file. There is nothing to store.")
    return sorted(found)


def write(entries: Sequence[tuple[str, str]]) -> bytes:
    """The list of (path, digest) as bytes, the same for the same list.

    >>> write([("model.json", "0e57")])
    b'{"schema_version":1,"files":[["model.json","0e57"]]}'
    """
    return json.dumps({"schema_version": SCHEMA_VERSION, "files": entries}, separators=(",", ":")).encode()


def read(data: bytes) -> list[tuple[str, str]]:
    """The list of (path, digest) from its bytes. `ValueError` for anything else, and for a path that leads outside."""
    try:
        tree = json.loads(data)
        version, entries = tree["schema_version"], [(path, digest) for path, digest in tree["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{data[:40]!r} is not such a list") from error
    if version != SCHEMA_VERSION:
        raise ValueError(f"its schema_version is {version!r}, not {SCHEMA_VERSION}; a newer Omniloop wrote it")
    if not all(is_digest(digest) for _, digest in entries):
        raise ValueError("it names a file by something else than a digest")
    return [(checked(path), digest) for path, digest in entries]


def checked(path: object) -> str:
    """The path, if it stays below its folder on every system; `ValueError` otherwise.

    >>> checked("deep/model.json")
    'deep/model.json'
    """
    parts = PurePosixPath(path).parts if isinstance(path, str) else ()
    if not isinstance(path, str) or not parts or parts[0] == "/" or ".." in parts or set(path) & set("\\:\0"):
        raise ValueError(f"{path!r:.100} leads outside the folder, or would elsewhere. Rename it")
    return path
