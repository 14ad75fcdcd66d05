"""One encoder a modality: a fixed, cheap `prepare` and a light learnable front end that keeps what the input says.

Importing this package registers the encoders that come along. A further modality is one more file like these.
"""

from omni_model.encoders import audio as audio
from omni_model.encoders import image as image
from omni_model.encoders import sensor as sensor
from omni_model.encoders import text as text
from omni_model.encoders import video as video
from omni_model.encoders.registry import ENCODERS, Encoder, build_encoders, register_encoder

__all__ = ["ENCODERS", "Encoder", "build_encoders", "register_encoder"]
