"""Bytes under the name of their digest, in a folder or an object store.

A blob lies at `ab/cdef...`, where `abcdef...` is its BLAKE2b-256 digest in hex, so the same bytes are stored once and a
blob is never changed. On a local disk it is written to a temporary file, flushed, and renamed: a kill leaves no half
blob. A folder is stored as its files plus a list of them; the digest of that list names the whole tree.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import fsspec

from db.errors import BlobCorrupt, BlobMissing, BlobStoreUnavailable

DIGEST_CHARS = 64
CHUNK_BYTES = 1 << 20
TREE_SCHEMA_VERSION = 1


def digest_of(data: bytes) -> str:
    """The name of bytes: BLAKE2b-256, hex.

    >>> digest_of(b"")[:16]
    '0e5751c026e543b2'
    """
    return hashlib.blake2b(data, digest_size=DIGEST_CHARS // 2).hexdigest()


def tree_digest(folder: Path) -> str:
    """The name of a folder's content: of every file's path and bytes, whatever the order or the dates.

    `ValueError` for a symbolic link or a special file.
    """
    return digest_of(_tree(folder, [(path, *_digest_file(folder / path)) for path in _files(folder)]))


class BlobStore:
    """A store at a local path or an fsspec URL (`memory://`, `s3://bucket/prefix`, ...). Safe to share."""

    def __init__(self, url: str | Path) -> None:
        filesystem, root = fsspec.core.url_to_fs(str(url))
        self._fs: Any = filesystem
        self._root = str(root).rstrip("/")
        self._local = Path(self._root) if "file" in _protocols(filesystem) else None
        self.url = str(url)

    def put(self, data: bytes) -> str:
        """Store bytes; returns their digest. Bytes that are there are not written again."""
        digest = digest_of(data)
        with self._translated("write"):
            if self._size(digest) != len(data):
                self._write(digest, data)
        return digest

    def put_file(self, path: Path) -> str:
        """Store a file's bytes without holding them in memory; returns their digest."""
        digest, size = _digest_file(path)
        with self._translated("write"):
            if self._size(digest) == size:
                return digest
            if self._local is None:
                self._fs.put_file(str(path), self._path(digest))
                return digest
            with _replacing(Path(self._path(digest))) as out, path.open("rb") as source:
                copied = hashlib.blake2b(digest_size=DIGEST_CHARS // 2)
                while chunk := source.read(CHUNK_BYTES):
                    copied.update(chunk)
                    out.write(chunk)
                if copied.hexdigest() != digest:
                    raise ValueError(f"{path} changed while it was being stored. Store it again once it is complete.")
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes, checked against their digest. `BlobMissing`, `BlobCorrupt`."""
        with self._translated("read"):
            try:
                data = bytes(self._fs.cat_file(self._path(digest)))
            except FileNotFoundError as error:
                raise self._missing(digest) from error
        if digest_of(data) != digest:
            raise self._corrupt(digest)
        return data

    def get_file(self, digest: str, path: Path) -> None:
        """Write the bytes to a file, checked, without holding them in memory. The file appears whole or not at all."""
        with self._translated("read"), _replacing(path) as out:
            seen = hashlib.blake2b(digest_size=DIGEST_CHARS // 2)
            try:
                with self._fs.open(self._path(digest), "rb") as source:
                    while chunk := source.read(CHUNK_BYTES):
                        seen.update(chunk)
                        out.write(chunk)
            except FileNotFoundError as error:
                raise self._missing(digest) from error
            if seen.hexdigest() != digest:
                raise self._corrupt(digest)

    def exists(self, digest: str) -> bool:
        """Whether there are bytes under this digest."""
        with self._translated("read"):
            return self._size(digest) is not None

    def delete(self, digest: str) -> bool:
        """Remove bytes; False if there were none. Nothing checks whether they are still needed."""
        with self._translated("write"):
            if self._size(digest) is None:
                return False
            self._fs.rm_file(self._path(digest))
            return True

    def put_folder(self, folder: Path) -> str:
        """Store every file of a folder; returns the digest of the tree. The same content has the same digest."""
        entries: list[tuple[str, str, int]] = []
        for path in _files(folder):
            entries.append((path, self.put_file(folder / path), (folder / path).stat().st_size))
        return self.put(_tree(folder, entries))

    def get_folder(self, digest: str, folder: Path) -> Path:
        """Write a tree to a folder, checked; returns the folder. It appears complete or not at all.

        A folder that holds this very tree is left as it is; one that holds anything else is a `ValueError`.
        """
        entries = self._entries(digest)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            if folder.is_dir() and tree_digest(folder) == digest:
                return folder
            raise ValueError(f"{folder} holds something else than tree {digest[:12]}. Choose an empty or new folder.")
        with self._translated("read"):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".incoming-", dir=folder.parent) as made:
                incoming = Path(made) / "tree"
                incoming.mkdir()
                for path, file_digest in entries:
                    (incoming / path).parent.mkdir(parents=True, exist_ok=True)
                    self.get_file(file_digest, incoming / path)
                if folder.exists():
                    folder.rmdir()
                incoming.rename(folder)
        return folder

    def list_digests(self) -> Iterator[str]:
        """Every digest in the store, in no particular order."""
        with self._translated("read"):
            for path in self._fs.find(self._root) if self._fs.exists(self._root) else []:
                digest = "".join(PurePosixPath(path).parts[-2:])
                if _is_digest(digest):
                    yield digest

    def _entries(self, digest: str) -> list[tuple[str, str]]:
        """The files of a tree as (path, digest). A list that would write outside its folder is refused."""
        try:
            tree = json.loads(self.get(digest))
            if tree["schema_version"] != TREE_SCHEMA_VERSION:
                raise ValueError(f"schema_version is {tree['schema_version']!r}")
            return [(_safe(path), str(file_digest)) for path, file_digest, _size in tree["files"]]
        except (ValueError, KeyError, TypeError) as error:
            raise BlobCorrupt(
                f"Blob {digest} in {self.url} is no list of a folder's files ({error}). Pass a digest of put_folder()."
            ) from error

    def _path(self, digest: str) -> str:
        if not _is_digest(digest):
            raise ValueError(f"{digest!r:.100} is no digest. It must be {DIGEST_CHARS} hexadecimal digits.")
        return f"{self._root}/{digest[:2]}/{digest[2:]}"

    def _size(self, digest: str) -> int | None:
        try:
            return int(self._fs.info(self._path(digest))["size"])
        except FileNotFoundError:
            return None

    def _write(self, digest: str, data: bytes) -> None:
        if self._local is None:
            self._fs.pipe_file(self._path(digest), data)
            return
        with _replacing(Path(self._path(digest))) as out:
            out.write(data)

    def _missing(self, digest: str) -> BlobMissing:
        return BlobMissing(f"Blob {digest} is not in {self.url}. Ingest its source again, or restore the store.")

    def _corrupt(self, digest: str) -> BlobCorrupt:
        return BlobCorrupt(
            f"Blob {digest} in {self.url} is damaged: its bytes do not hash to its name. Delete it and ingest its "
            "source again, or restore it from a backup."
        )

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            mend = "Free space there and try again." if full else "Make it readable and writable, and reachable."
            raise BlobStoreUnavailable(f"The blob store at {self.url} cannot {verb}: {error}. {mend}") from error


def _files(folder: Path) -> list[str]:
    """Paths of a folder's files relative to it, sorted, with forward slashes."""
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}. Check the path.")
    found = []
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ValueError(f"{path} is a link or a special file. A stored folder holds plain files only; remove it.")
        if path.is_file():
            found.append(_safe(path.relative_to(folder).as_posix()))
    return sorted(found)


def _tree(folder: Path, entries: list[tuple[str, str, int]]) -> bytes:
    if not entries:
        raise ValueError(f"{folder} holds no file. There is nothing to store.")
    return json.dumps({"schema_version": TREE_SCHEMA_VERSION, "files": entries}, separators=(",", ":")).encode()


def _digest_file(path: Path) -> tuple[str, int]:
    """(digest, size in bytes), read in chunks."""
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, lambda: hashlib.blake2b(digest_size=DIGEST_CHARS // 2)).hexdigest()
        return digest, source.tell()


def _safe(path: Any) -> str:
    """The path, if it stays below its folder; `ValueError` otherwise."""
    parts = PurePosixPath(str(path)).parts
    if (
        not isinstance(path, str)
        or not parts
        or path.startswith("/")
        or set(parts) & {"..", "."}
        or set(path) & set("\\:\0")
    ):
        raise ValueError(f"{path!r:.100} leads outside the folder, or would elsewhere. Rename it.")
    return path


def _is_digest(text: object) -> bool:
    return isinstance(text, str) and len(text) == DIGEST_CHARS and set(text) <= set("0123456789abcdef")


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` at the end of the block, and is removed if the block raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".incoming-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make the new name itself survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
