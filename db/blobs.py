"""Bytes under the name of their digest, in a folder or an object store.

A blob lies at `ab/cdef...`, where `abcdef...` is its BLAKE2b-256 digest in hex, so the same bytes are stored once and a
blob is never changed. On a local disk it is written to a temporary file, flushed, and renamed: a kill leaves no half
blob. A folder is stored as its files plus a list of them; the digest of that list names the whole tree.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from db import trees
from db.digests import CHUNK_BYTES, DIGEST_CHARS, digest_file, digest_of, is_digest, new_digest
from db.errors import BlobCorrupt, BlobMissing, BlobStoreUnavailable
from db.files import replacing, write_many
from db.trees import tree_digest

__all__ = ["BlobStore", "digest_of", "tree_digest"]


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

    def put_many(self, data: Sequence[bytes]) -> list[str]:
        """Store several pieces of bytes; returns their digests in order. Costs one flush of the disk together."""
        digests = [digest_of(each) for each in data]
        new = dict(zip(digests, data, strict=True))
        with self._translated("write"):
            new = {digest: each for digest, each in new.items() if self._size(digest) != len(each)}
            if self._local is None:
                for digest, each in new.items():
                    self._write(digest, each)
            else:
                write_many((self._path(digest), each) for digest, each in new.items())
        return digests

    def put_file(self, path: Path) -> str:
        """Store a file's bytes without holding them in memory; returns their digest."""
        digest, size = digest_file(path)
        with self._translated("write"):
            if self._size(digest) == size:
                return digest
            if self._local is None:
                self._fs.put_file(str(path), self._path(digest))
                return digest
            with replacing(Path(self._path(digest))) as out, path.open("rb") as source:
                copied = new_digest()
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
        with self._translated("read"), replacing(path) as out:
            seen = new_digest()
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
        paths = trees.files(folder)
        return self.put(trees.write([(path, self.put_file(folder / path)) for path in paths]))

    def get_folder(self, digest: str, folder: Path) -> Path:
        """Write a tree to a folder, checked; returns the folder. It appears complete or not at all.

        A folder that holds this very tree is left as it is; one that holds anything else is a `ValueError`.
        """
        data = self.get(digest)
        try:
            entries = trees.read(data)
        except ValueError as error:
            raise BlobCorrupt(
                f"Blob {digest} in {self.url} is no list of a folder's files: {error}. Pass a digest of put_folder()."
            ) from error
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
                if is_digest(digest):
                    yield digest

    def _path(self, digest: str) -> str:
        if not is_digest(digest):
            raise ValueError(f"{digest!r:.100} is no digest. It must be {DIGEST_CHARS} hexadecimal digits.")
        return f"{self._root}/{digest[:2]}/{digest[2:]}"

    def _size(self, digest: str) -> int | None:
        try:
            if self._local is not None:
                return os.stat(self._path(digest)).st_size
            return int(self._fs.info(self._path(digest))["size"])
        except FileNotFoundError:
            return None

    def _write(self, digest: str, data: bytes) -> None:
        if self._local is None:
            self._fs.pipe_file(self._path(digest), data)
            return
        with replacing(Path(self._path(digest))) as out:
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


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)
