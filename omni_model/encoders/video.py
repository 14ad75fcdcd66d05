"""Video: frames through the image encoder, then attention over time.

Shapes: B batch, F frames, S side in pixels, L patches, D width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omni_model.encoders.image import ImageEncoder, as_frames, evenly
from omni_model.encoders.registry import Encoder, Value, register_encoder


@register_encoder("video")
class VideoEncoder(Encoder):
    """Each frame becomes `per_frame` tokens by learned pooling of its patches; frames then attend to each other.

    The image encoder is the model's own if it has one (weights shared, held without being registered twice).
    """

    last = "out"

    def __init__(
        self, width: int, others: Mapping[str, Encoder], *, max_frames: int = 8, per_frame: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        shared = others.get("image")
        self.own_image = None if isinstance(shared, ImageEncoder) else ImageEncoder(width, {})
        self._shared = (shared,)
        self.max_frames, self.per_frame, self.heads = max_frames, per_frame, heads
        self.max_tokens = max_frames * per_frame
        self.pool = nn.Linear(width, per_frame)
        self.time = nn.Embedding(max_frames, width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    @property
    def image(self) -> ImageEncoder:
        """The encoder that the frames go through."""
        encoder = self.own_image or self._shared[0]
        assert isinstance(encoder, ImageEncoder)
        return encoder

    def prepare(self, value: Value) -> Tensor:
        pixels = as_frames(value)
        return self.image.prepare_frames(pixels[evenly(pixels.shape[0], self.max_frames)])

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        num_rows, num_frames = mask.shape
        patches_NLD = self.image.frames(x.flatten(0, 1))
        share_NLP = self.pool(patches_NLD).softmax(dim=1)
        x_BFPD = (share_NLP.transpose(1, 2) @ patches_NLD).unflatten(0, (num_rows, num_frames))
        x_BFPD = x_BFPD + self.time.weight[:num_frames, None]
        x_BLD = (x_BFPD * mask[:, :, None, None]).flatten(1, 2)
        mask_BL = mask.repeat_interleave(self.per_frame, dim=1)
        return self._over_time(x_BLD, mask_BL), mask_BL

    def _over_time(self, x_BLD: Tensor, mask_BL: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x_BLD)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y_BHLE = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask_BL[:, None, None, :])
        y_BLD: Tensor = x_BLD + self.out(y_BHLE.transpose(1, 2).flatten(2))
        return torch.where(mask_BL[..., None], y_BLD, 0.0)
