"""What a codec is, the limits that keep every decode bounded in memory, and the registry.

A codec turns untrusted bytes into a value of its modality, or raises `DecodeError`; nothing else may come out. To add a
modality, write a codec (and an encoder in the model) and `register` it; manifests may then carry a column of its name.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from omni_model.data.errors import DecodeError
from omni_model.sample import Value


@dataclass(frozen=True, kw_only=True)
class CodecLimits:
    """How large a value may be. Content beyond a limit is refused before it is decoded, or as soon as that shows."""

    num_bytes: int = 64 * 2**20
    """Of one encoded value."""
    text_characters: int = 100_000
    image_pixels: int = 16 * 2**20
    """Width x height; 16 megapixels decode to 48 MiB."""
    audio_s: float = 120.0
    audio_channels: int = 8
    video_s: float = 120.0
    video_source_frames: int = 7_200
    """Frames that are decoded at most, of which `video_frames` are kept."""
    video_source_pixels: int = 1920 * 1088
    """Width x height of a frame in the file."""
    video_frames: int = 32
    """Frames kept, evenly spread over the clip."""
    video_pixels: int = 640 * 360
    """Width x height of a kept frame; larger ones are scaled down to it, keeping their proportions."""
    sensor_steps: int = 100_000
    sensor_channels: int = 256
    sensor_values: int = 4_000_000
    """Steps x channels."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"The limit {name} must be above 0, got {value}. Leave it out to keep the default.")


LIMITS = CodecLimits()
DAMAGED = "its content is damaged or cut off"
OF_THE_PARSER = (LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, struct.error)
"""What a parser did not foresee; its words are of its own variables."""
INTERNALS = re.compile(
    r"Error opening <[^>]*>|<[^>]* at 0x[^>]*>|\(chunk b'[^']*'\)|\[Errno -?\d+\]|: '<none>'"
    r"|not identified by this driver"
)
"""Objects, addresses, raw bytes and numbers of errors in what a parser says."""


@runtime_checkable
class Codec(Protocol):
    """The bytes and the value of one modality."""

    @property
    def modality(self) -> str:
        """Its name: the column of the manifest and the key in `Sample.inputs`."""

    @property
    def suffix(self) -> str:
        """Of a file that `encode` wrote, e.g. `.png`."""

    def decode(self, data: bytes) -> Value:
        """The value, or `DecodeError` (fact, value, mend). Never another exception, never unbounded memory."""

    def encode(self, value: Value) -> bytes:
        """The canonical bytes: `decode(encode(value))` is the value, up to the resolution of the format."""


CODECS: dict[str, Codec] = {}
"""Modality to codec."""


def register(codec: Codec) -> None:
    """Make a modality known. A second codec for the same modality replaces the first."""
    if not codec.modality.isidentifier() or codec.modality != codec.modality.lower():
        raise ValueError(f"A modality is named by a lower-case identifier, got {codec.modality!r}. Try `depth_map`.")
    CODECS[codec.modality] = codec


@contextmanager
def foreign_parser(fact: str, mend: str) -> Iterator[None]:
    """Third-party parsers raise almost anything on hostile bytes; whatever it is, the bytes are at fault."""
    try:
        yield
    except (DecodeError, MemoryError):
        raise
    except Exception as error:
        raise DecodeError(f"{fact}: {in_words(error)}. {mend}") from error


def in_words(error: Exception) -> str:
    """What a parser says is wrong, without what only its author could read.

    >>> in_words(OSError("Error opening <_io.BytesIO object at 0x7f>: Format not recognised."))
    'Format not recognised'
    >>> in_words(SyntaxError("broken PNG file (chunk b'IDA')")), in_words(IndexError("tuple index out of range"))
    ('broken PNG file', 'its content is damaged or cut off')
    """
    if isinstance(error, OF_THE_PARSER) or isinstance(error.__cause__, OF_THE_PARSER):
        return DAMAGED
    said = getattr(error, "strerror", None) or str(error)
    return " ".join(INTERNALS.sub("", said).split()).strip(".: ") or DAMAGED


def check_size(data: bytes, limits: CodecLimits, what: str) -> None:
    """Refuse empty and oversized content."""
    if not data:
        raise DecodeError(f"The {what} is empty (0 bytes). Leave the modality out of the row if there is none.")
    if len(data) > limits.num_bytes:
        raise DecodeError(
            f"The {what} has {len(data):,} bytes, more than the {limits.num_bytes:,} allowed. "
            "Store it smaller, or raise the limit num_bytes."
        )
