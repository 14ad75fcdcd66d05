"""Text, one token a character: no vocabulary, so typing errors and other scripts cost nothing but themselves.

Shapes: B batch, T characters, D width.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omni_model.encoders.registry import Encoder, Value, register_encoder


def code_points(text: str, max_characters: int) -> list[int]:
    """Code points of the normalised, case-folded text, cut at `max_characters`.

    >>> code_points("Aß", 8)
    [97, 115, 115]
    """
    return [ord(character) for character in unicodedata.normalize("NFC", text.casefold())[:max_characters]]


@register_encoder("text")
class TextEncoder(Encoder):
    """Each character is the sum of two embeddings, of its code point's low byte and of its page (the rest).

    Within the Basic Multilingual Plane that names every character exactly with 512 rows. A residual convolution then
    shows each character its neighbours.
    """

    last = "mix"

    def __init__(self, width: int, others: Mapping[str, Encoder], *, max_characters: int = 256) -> None:
        super().__init__()
        self.max_tokens = max_characters
        self.low = nn.Embedding(256, width)
        self.page = nn.Embedding(256, width)
        self.mix = nn.Conv1d(width, width, kernel_size=3, padding=1)
        self.norm = nn.LayerNorm(width)

    def prepare(self, value: Value) -> Tensor:
        if not isinstance(value, str):
            raise ValueError(f"text must be a str, got {type(value).__name__}. Decode it as UTF-8 first.")
        return torch.tensor(code_points(value, self.max_tokens), dtype=torch.int64)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x_BTD = (self.low(x % 256) + self.page(x // 256 % 256)) * mask[..., None]
        mixed_BTD = self.mix(x_BTD.transpose(1, 2)).transpose(1, 2)
        tokens_BTD: Tensor = self.norm(x_BTD + nn.functional.gelu(mixed_BTD))
        return tokens_BTD, mask
