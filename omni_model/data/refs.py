"""Open what a row refers to: inline content, a path next to the manifest, or a URI."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from omni_model.data.codecs import LIMITS
from omni_model.data.errors import RowError
from omni_model.data.rows import Ref

SCHEMES = ("file", "memory", "s3", "gs", "abfs", "az")
"""URI schemes that are opened unless the caller says otherwise. http and https are left out: a manifest could then make
this machine ask any address of its network."""


def read_ref(
    ref: Ref,
    *,
    base: Path,
    max_bytes: int = LIMITS.num_bytes,
    roots: Sequence[Path] | None = None,
    schemes: Sequence[str] = SCHEMES,
) -> bytes:
    """The content that a reference stands for. Relative paths start at `base`, the folder of the manifest.

    With `roots` given, a path (links followed) must lie in one of them, and no URI is opened: for manifests of
    people who may not read the whole machine. Raises `RowError` for what is the row's fault: no such file, a folder,
    not allowed, too large. A store that does not answer raises its own `OSError`, for the row may well be fine.
    """
    if isinstance(ref, bytes):
        content = ref
    elif "://" in ref:
        content = _read_uri(ref, max_bytes, () if roots is not None else schemes)
    else:
        content = _read_path(base / ref, max_bytes, roots)
    if len(content) > max_bytes:
        raise RowError(f"{_shown(ref)} has more than the {max_bytes:,} bytes allowed. Store it smaller.")
    return content


def _read_path(path: Path, max_bytes: int, roots: Sequence[Path] | None) -> bytes:
    if roots is not None and not any(path.resolve().is_relative_to(root.resolve()) for root in roots):
        folders = ", ".join(str(root) for root in roots)
        raise RowError(f"{path} lies outside {folders}. Copy the file there, next to the manifest.")
    try:
        if path.exists() and not path.is_file():  # a folder; or a pipe, which would be waited for
            raise RowError(f"{path} is no regular file. Name a file.")
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RowError(f"No file at {path}. Correct the path; relative ones start at the manifest's folder.") from error
    except PermissionError as error:
        raise RowError(f"{path} may not be read by this user. Allow it, e.g. with chmod.") from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise RowError(f"{_shown(str(path))} is too long for a path. Shorten it.") from error


def _read_uri(uri: str, max_bytes: int, schemes: Sequence[str]) -> bytes:
    import fsspec

    scheme = urlsplit(uri).scheme
    if scheme not in schemes or "::" in uri:  # fsspec chains file systems with `::`
        allowed = ", ".join(schemes) or "none"
        raise RowError(f"{_shown(uri)}: {scheme} is not opened; allowed schemes: {allowed}. Copy the file to a path.")
    try:
        with fsspec.open(uri, "rb") as file:
            content: Any = file.read(max_bytes + 1)
            return bytes(content)
    except FileNotFoundError as error:
        raise RowError(f"No file at {_shown(uri)}. Correct the URI.") from error
    except (IsADirectoryError, PermissionError) as error:
        raise RowError(f"{_shown(uri)} cannot be read: {error}. Correct the URI or the rights.") from error
    except (ImportError, ValueError) as error:
        raise RowError(f"{_shown(uri)} cannot be opened: {error}. Correct the URI or install what it needs.") from error


def _shown(ref: Ref) -> str:
    if isinstance(ref, bytes):
        return f"Inline content of {len(ref):,} bytes"
    return ref if len(ref) <= 200 else f"{ref[:197]}..."
