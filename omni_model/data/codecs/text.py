"""Text: UTF-8, put into Unicode normal form C, so that equal words are equal strings."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from omni_model.data.codecs.base import LIMITS, CodecLimits, check_size
from omni_model.data.errors import DecodeError
from omni_model.sample import Value


@dataclass(frozen=True, kw_only=True)
class TextCodec:
    """Plain text; a byte-order mark is dropped.

    >>> TextCodec().decode("zéro".encode())
    'zéro'
    """

    limits: CodecLimits = LIMITS
    modality: str = "text"
    suffix: str = ".txt"

    def decode(self, data: bytes) -> str:
        """UTF-8 to `str` in NFC."""
        check_size(data, self.limits, "text")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DecodeError(
                f"The text is not UTF-8: byte 0x{data[error.start]:02x} at position {error.start}. "
                "Save it as UTF-8 (`iconv -f latin1 -t utf-8` if it is Latin-1)."
            ) from error
        return self._checked(text)

    def encode(self, value: Value) -> bytes:
        """`str` to UTF-8."""
        if not isinstance(value, str):
            raise DecodeError(f"A text must be a str, got {type(value).__name__}. Pass the text itself.")
        try:
            return self._checked(value).encode("utf-8")
        except UnicodeEncodeError as error:
            raise DecodeError(
                f"The text holds half a surrogate pair, {value[error.start]!r} at character {error.start}, which no "
                "UTF-8 can express. Replace it."
            ) from error

    def _checked(self, text: str) -> str:
        if len(text) > self.limits.text_characters:
            raise DecodeError(
                f"The text has {len(text):,} characters, more than the {self.limits.text_characters:,} allowed. "
                "Split it, or raise the limit text_characters."
            )
        if not text:
            raise DecodeError("The text is empty. Leave the modality out of the row if there is none.")
        if "\0" in text:
            raise DecodeError(
                f"The text holds a NUL at character {text.index(chr(0))}. Is it a binary file? Remove it."
            )
        return unicodedata.normalize("NFC", text)
