"""Samples as people see them: the picture, the sound, the text, the film, each from its own address."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from dashboards.site import Site
from db.errors import BlobError
from db.records import StoredSample

MAX_TEXT_CHARS = 2_000
"""Characters of a text that a page shows; the whole of it is at its address."""
OCTETS = "application/octet-stream"
_SIGNS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (0, b"BM", "image/bmp"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
)
"""Where a format's first bytes lie, what they are, and its type. Formats that could run something are not here."""


@dataclass(frozen=True, kw_only=True)
class ShownSample:
    """A sample with what a page needs to show it."""

    id: str
    key: str
    """The id as the name of an element of the page."""
    task: str
    instruction: str
    domain: str
    text: str | None
    """Its text, cut if very long; None if it has none."""
    media: Mapping[str, str]
    """Modality to the address of its bytes, the text's among them."""
    problems: tuple[str, ...] = ()
    """What could not be read, in words."""


def shown(site: Site, samples: Sequence[StoredSample]) -> list[ShownSample]:
    """The samples in their order. Reads each text; pictures, sounds and films are fetched by the browser."""
    return [_shown(site, sample) for sample in samples]


def media_url(sample_id: str, modality: str) -> str:
    """Where the bytes of one modality are.

    >>> media_url("till 3/1", "image")
    '/media?sample=till+3%2F1&modality=image'
    """
    return "/media?" + urlencode({"sample": sample_id, "modality": modality})


def type_of(data: bytes, modality: str) -> str:
    """The type that a browser is told, by the first bytes; what is not known is bytes to be saved, never a page.

    >>> type_of(b"RIFF....WAVEfmt ", "audio"), type_of(b"<script>", "image"), type_of(b"<script>", "text")
    ('audio/wav', 'application/octet-stream', 'text/plain; charset=utf-8')
    """
    if modality == "text":
        return "text/plain; charset=utf-8"
    return next((kind for at, sign, kind in _SIGNS if data[at : at + len(sign)] == sign), OCTETS)


def _shown(site: Site, sample: StoredSample) -> ShownSample:
    text: str | None = None
    problems: tuple[str, ...] = ()
    if "text" in sample.inputs:
        try:
            text = site.blobs.get(sample.inputs["text"]).decode("utf-8", errors="replace")
        except BlobError as error:
            problems = (f"The text cannot be shown: {error}",)
    if text is not None and len(text) > MAX_TEXT_CHARS:
        text = text[:MAX_TEXT_CHARS] + " …"
    return ShownSample(
        id=sample.id,
        key="s" + hashlib.blake2b(sample.id.encode(), digest_size=6).hexdigest(),
        task=sample.task,
        instruction=sample.instruction,
        domain=sample.domain,
        text=text,
        media={modality: media_url(sample.id, modality) for modality in sorted(sample.inputs)},
        problems=problems,
    )
