"""One codec per modality, all registered in `CODECS`."""

from omni_model.data.codecs.audio import AudioCodec
from omni_model.data.codecs.base import CODECS, LIMITS, Codec, CodecLimits, register
from omni_model.data.codecs.image import ImageCodec
from omni_model.data.codecs.sensor import SensorCodec
from omni_model.data.codecs.text import TextCodec
from omni_model.data.codecs.video import VideoCodec

__all__ = ["CODECS", "LIMITS", "Codec", "CodecLimits", "built_in", "register"]


def built_in(limits: CodecLimits = LIMITS) -> dict[str, Codec]:
    """The five codecs that come along, with limits of one's own."""
    codecs: tuple[Codec, ...] = (
        TextCodec(limits=limits),
        ImageCodec(limits=limits),
        AudioCodec(limits=limits),
        VideoCodec(limits=limits),
        SensorCodec(limits=limits),
    )
    return {codec.modality: codec for codec in codecs}


for _codec in built_in().values():
    register(_codec)
