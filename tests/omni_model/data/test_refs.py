from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from omni_model.data.errors import RowError
from omni_model.data.refs import read_ref


def test_paths_start_at_the_folder_of_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"picture")
    assert read_ref("images/a.png", base=tmp_path) == b"picture"
    assert read_ref(str(tmp_path / "images" / "a.png"), base=Path("/elsewhere")) == b"picture"


def test_inline_content_is_itself(tmp_path: Path) -> None:
    assert read_ref(b"inline", base=tmp_path) == b"inline"


def test_uris_are_opened_through_fsspec(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"file")
    with fsspec.open("memory://refs/a", "wb") as file:
        file.write(b"memory")
    assert read_ref(f"file://{tmp_path}/a", base=tmp_path) == b"file"
    assert read_ref("memory://refs/a", base=tmp_path) == b"memory"


def test_a_missing_file_is_told_with_its_full_path(tmp_path: Path) -> None:
    with pytest.raises(RowError, match=f"No file at {tmp_path}/gone.png"):
        read_ref("gone.png", base=tmp_path)
    with pytest.raises(RowError, match="No file at memory://refs/gone"):
        read_ref("memory://refs/gone", base=tmp_path)
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(RowError, match="No file"):
        read_ref("a/b", base=tmp_path)


def test_folders_and_pipes_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "pipe"):
        with pytest.raises(RowError, match="no regular file"):
            read_ref(name, base=tmp_path)


def test_a_name_too_long_for_the_file_system_is_told(tmp_path: Path) -> None:
    with pytest.raises(RowError, match="too long"):
        read_ref("x" * 5000, base=tmp_path)


def test_a_file_above_the_limit_is_refused_without_reading_it_all(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(1000))
    assert len(read_ref("large", base=tmp_path, max_bytes=1000)) == 1000
    for ref in ("large", f"file://{tmp_path}/large", bytes(1000)):
        with pytest.raises(RowError, match="more than the 999 bytes"):
            read_ref(ref, base=tmp_path, max_bytes=999)


@pytest.mark.parametrize("uri", ["http://127.0.0.1/a", "https://example.org/a", "ftp://x/a", "simplecache::file:///a"])
def test_addresses_of_the_network_are_not_opened_unless_allowed(tmp_path: Path, uri: str) -> None:
    with pytest.raises(RowError, match="not opened; allowed schemes"):
        read_ref(uri, base=tmp_path)


def test_roots_keep_a_manifest_inside_its_folder(tmp_path: Path) -> None:
    inside, secret = tmp_path / "data", tmp_path / "secret"
    inside.mkdir()
    secret.write_bytes(b"secret")
    (inside / "a").write_bytes(b"a")
    (inside / "link").symlink_to(secret)
    assert read_ref("a", base=inside, roots=[inside]) == b"a"
    for ref in ("../secret", str(secret), "link", f"file://{secret}"):
        with pytest.raises(RowError):
            read_ref(ref, base=inside, roots=[inside])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything; run the tests as another user")
def test_a_file_without_read_rights_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed").write_bytes(b"")
    (tmp_path / "closed").chmod(0)
    with pytest.raises(RowError, match="may not be read"):
        read_ref("closed", base=tmp_path)
