"""The blob store: the same bytes once, whole or not at all, and never other bytes than were put."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

from db.blobs import BlobStore, digest_of, tree_digest
from db.errors import BlobCorrupt, BlobMissing, BlobStoreUnavailable

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    """A store in a folder, and one in memory, which stands for every object store."""
    yield BlobStore(tmp_path / "blobs" if request.param == "folder" else "memory://blobs")
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder worth storing."""
    made = tmp_path / "checkpoint"
    (made / "deep" / "er").mkdir(parents=True)
    (made / "model.json").write_text("{}")
    (made / "deep" / "er" / "é weights.bin").write_bytes(b"\0" * 3_000_000)
    return made


def overwrite(store: BlobStore, digest: str, data: bytes) -> None:
    """Damage a blob behind the store's back."""
    filesystem, root = fsspec.core.url_to_fs(store.url)
    filesystem.pipe_file(f"{root}/{digest[:2]}/{digest[2:]}", data)


@pytest.mark.parametrize("data", [b"", b"x", b"\0\xff" * 700_000], ids=["empty", "one byte", "large"])
def test_what_is_put_is_got(store: BlobStore, data: bytes, tmp_path: Path) -> None:
    digest = store.put(data)
    assert digest == digest_of(data)
    assert store.get(digest) == data
    store.get_file(digest, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data


def test_the_same_bytes_are_stored_once(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"data")
    assert store.put(b"data") == store.put(b"data") == store.put_file(tmp_path / "file")
    assert list(store.list_digests()) == [digest_of(b"data")]


def test_several_are_put_as_one_is(store: BlobStore) -> None:
    store.put(b"known")
    overwrite(store, store.put(b"cut short"), b"cut")
    data = [b"new", b"known", b"", b"new", b"cut short"]
    assert store.put_many(data) == [digest_of(each) for each in data]
    assert [store.get(digest_of(each)) for each in data] == data
    assert sorted(store.list_digests()) == sorted({digest_of(each) for each in data})
    assert store.put_many([]) == []


def test_a_blob_can_be_deleted(store: BlobStore) -> None:
    digest = store.put(b"data")
    assert store.exists(digest)
    assert store.delete(digest)
    assert not store.exists(digest)
    assert not store.delete(digest)
    assert list(store.list_digests()) == []


def test_a_missing_blob_is_told_as_such(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(BlobMissing, match="is not in"):
        store.get(digest_of(b"never"))
    with pytest.raises(BlobMissing):
        store.get_file(digest_of(b"never"), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_damaged_blob_is_never_handed_out(store: BlobStore, tmp_path: Path) -> None:
    digest = store.put(b"data")
    overwrite(store, digest, b"dada")
    with pytest.raises(BlobCorrupt, match="Delete it"):
        store.get(digest)
    with pytest.raises(BlobCorrupt):
        store.get_file(digest, tmp_path / "copy")
    assert list(tmp_path.glob("*copy*")) == []
    store.delete(digest)
    store.put(b"data")
    assert store.get(digest) == b"data"


def test_a_truncated_blob_is_mended_by_putting_it_again(store: BlobStore, tmp_path: Path) -> None:
    digest = store.put(b"data")
    overwrite(store, digest, b"da")
    assert store.put(b"data") == digest
    assert store.get(digest) == b"data"
    overwrite(store, digest, b"")
    (tmp_path / "file").write_bytes(b"data")
    store.put_file(tmp_path / "file")
    assert store.get(digest) == b"data"


@pytest.mark.parametrize("digest", ["", "abc", "../../etc/passwd", "G" * 64, "AB" * 32])
def test_only_a_digest_names_a_blob(store: BlobStore, digest: str) -> None:
    for call in (store.get, store.exists, store.delete):
        with pytest.raises(ValueError, match="is no digest"):
            call(digest)


def test_a_folder_comes_back_the_same(store: BlobStore, folder: Path, tmp_path: Path) -> None:
    digest = store.put_folder(folder)
    assert digest == tree_digest(folder)
    back = store.get_folder(digest, tmp_path / "somewhere" / "back")
    assert tree_digest(back) == digest
    assert (back / "deep" / "er" / "é weights.bin").read_bytes() == b"\0" * 3_000_000
    assert [path.name for path in back.parent.iterdir()] == ["back"]


def test_the_digest_of_a_tree_is_of_its_content_alone(folder: Path) -> None:
    before = tree_digest(folder)
    os.utime(folder / "model.json", (1, 1))
    (folder / "empty").mkdir()
    assert tree_digest(folder) == before
    (folder / "model.json").rename(folder / "other.json")
    assert tree_digest(folder) != before


def test_a_folder_is_fetched_once_and_never_over_something_else(store: BlobStore, folder: Path, tmp_path: Path) -> None:
    digest = store.put_folder(folder)
    (tmp_path / "back").mkdir()
    back = store.get_folder(digest, tmp_path / "back")
    assert store.get_folder(digest, back) == back
    (back / "model.json").write_text("[]")
    with pytest.raises(ValueError, match="holds something else"):
        store.get_folder(digest, back)
    assert (back / "model.json").read_text() == "[]"


def test_a_folder_with_a_damaged_file_does_not_appear(store: BlobStore, folder: Path, tmp_path: Path) -> None:
    digest = store.put_folder(folder)
    overwrite(store, digest_of(b"{}"), b"[]")
    with pytest.raises(BlobCorrupt):
        store.get_folder(digest, tmp_path / "back")
    assert {path.name for path in tmp_path.iterdir()} <= {"checkpoint", "blobs"}


@pytest.mark.parametrize("path", ["../out", "/etc/out", "a/../../out", "", ".", "a\\..\\out", "C:out", "a\0b", 7, None])
def test_a_tree_never_leads_outside_its_folder(store: BlobStore, tmp_path: Path, path: object) -> None:
    file = store.put(b"data")
    evil = store.put(json.dumps({"schema_version": 1, "files": [[path, file]]}).encode())
    with pytest.raises(BlobCorrupt, match="leads outside"):
        store.get_folder(evil, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"data",
        b"\xff",
        b"[]",
        b'{"schema_version": 1}',
        b'{"schema_version": 9, "files": []}',
        b'{"schema_version": 1, "files": [["model.json", "../../etc/passwd"]]}',
        b'{"schema_version": 1, "files": [["model.json", 7]]}',
    ],
)
def test_bytes_that_are_no_tree_are_told_as_such(store: BlobStore, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BlobCorrupt, match="no list of a folder's files"):
        store.get_folder(store.put(data), tmp_path / "back")


def test_links_and_empty_folders_are_not_stored(store: BlobStore, folder: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(ValueError, match="a link or a special file"):
        store.put_folder(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no file"):
        store.put_folder(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="no folder"):
        store.put_folder(tmp_path / "nowhere")


def test_a_name_that_could_not_be_fetched_is_not_stored(store: BlobStore, folder: Path) -> None:
    (folder / "a:b").write_text("")
    with pytest.raises(ValueError, match="leads outside"):
        store.put_folder(folder)


@contextmanager
def room_for(num_bytes: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes; the system says the same as for a quota that is used up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_no_half_blob(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "blobs")
    kept = store.put(b"kept")
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    with room_for(10_000):
        with pytest.raises(BlobStoreUnavailable, match="Free space there and try again"):
            store.put(b"x" * 100_000)
        with pytest.raises(BlobStoreUnavailable, match="Free space there and try again"):
            store.put_many([b"x" * 100_000])
        with pytest.raises(BlobStoreUnavailable, match="Free space there and try again"):
            store.put_file(tmp_path / "file")
    assert [path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == [kept[2:]]
    assert store.get(store.put(b"x" * 100_000)) == b"x" * 100_000


def test_a_store_that_cannot_be_written_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BlobStoreUnavailable, match="Make it readable and writable"):
        BlobStore(tmp_path / "file").put(b"data")


@pytest.mark.parametrize("call", ["put(b'data')", "put_many([b'data'])"])
def test_a_kill_while_writing_leaves_no_blob(tmp_path: Path, call: str) -> None:
    script = (
        "import os, signal, sys\n"
        "from db.blobs import BlobStore\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"BlobStore(sys.argv[1]).{call}\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    store = BlobStore(tmp_path)
    assert not store.exists(digest_of(b"data"))
    assert list(store.list_digests()) == []
    assert store.get(store.put(b"data")) == b"data"


@pytest.mark.parametrize("has_syncfs", [True, False])
def test_several_are_flushed_before_they_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_syncfs: bool
) -> None:
    """Where one file system cannot be flushed alone, all are."""
    flushed = list[int]()
    if not has_syncfs:
        monkeypatch.setattr("db.files.ctypes.CDLL", lambda *_, **__: object())
        monkeypatch.setattr("db.files.os.sync", lambda: flushed.append(1))
    store = BlobStore(tmp_path)
    store.put_many([b"a", b"b"])
    store.put_many([b"a", b"b"])
    assert len(flushed) == (0 if has_syncfs else 1)


def test_a_file_that_grows_while_it_is_stored_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"short")
    real = BlobStore._size

    def grow(store: BlobStore, digest: str) -> int | None:
        (tmp_path / "file").write_bytes(b"longer now")
        return real(store, digest)

    monkeypatch.setattr(BlobStore, "_size", grow)
    store = BlobStore(tmp_path / "blobs")
    with pytest.raises(ValueError, match="changed while it was being stored"):
        store.put_file(tmp_path / "file")
    assert list(store.list_digests()) == []
