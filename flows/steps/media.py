"""From a manifest's reference to bytes: inline content, a file beside the manifest, an object in an allowed store."""

from collections.abc import Collection
from pathlib import Path

import fsspec

from omni_model.data.errors import RowError

MAX_BYTES = 64 * 2**20
"""The codecs' own limit on one encoded value; nothing larger is read into memory."""


def read_media(ref: str | bytes, folder: Path, schemes: Collection[str]) -> bytes:
    """The bytes behind ``ref``; a relative path counts from ``folder``, the manifest's own.

    Raises :class:`RowError` for a missing file, one that is too large, or a URI whose scheme is not in ``schemes``.
    """
    if isinstance(ref, bytes):
        return ref
    scheme, separator, _ = ref.partition("://")
    if not separator:
        return _read(str(folder / ref), ref)
    if scheme not in schemes:
        raise RowError(
            f"The URI {ref!r} has the scheme {scheme!r}; allowed: {', '.join(sorted(schemes))}. "
            "Add it to OMNI_URI_SCHEMES if you trust where the manifest comes from."
        )
    return _read(ref, ref)


def _read(url: str, shown: str) -> bytes:
    try:
        with fsspec.open(url, "rb") as file:
            data: bytes = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise RowError(
            f"There is no file {shown!r}. Correct the path; a relative one counts from the manifest."
        ) from error
    except (OSError, ImportError, ValueError) as error:
        raise RowError(
            f"{shown!r} cannot be read: {error}. Check its permissions and that the store is reachable."
        ) from error
    if len(data) > MAX_BYTES:
        raise RowError(f"{shown!r} has more than {MAX_BYTES:,} bytes. Store it smaller.")
    return data
