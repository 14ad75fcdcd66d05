"""Which device computes what: each modality's encoder on a device of its own choice, the fusion on one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omni_model.protocol import INSTRUCTION

REST, FUSE = "*", "fuse"
"""Names, in a placement, of every modality that it does not name, and of the layers across modalities."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A device for each block."""

    named: Mapping[str, str]
    """Modality to device."""
    rest: str
    """Device of every other modality."""
    fuse: str
    """Device of the layers across modalities."""

    def of(self, block: str) -> str:
        """Device of a block: the instruction is text, and videos go through the encoder of images."""
        if block == INSTRUCTION:
            block = "text"
        if block == "video" and block not in self.named:
            block = "image"
        return self.named.get(block, self.rest)

    @property
    def devices(self) -> tuple[str, ...]:
        """All devices, the one that fuses first."""
        return tuple(dict.fromkeys([self.fuse, *self.named.values(), self.rest]))


def placed(asked: Mapping[str, str], num_gpus: int) -> Placement:
    """The placement asked for; by default text on the CPU and the rest on the first GPU, if there is one.

    Raises `ValueError` for a device that is not there.

    >>> placed({}, 0).devices
    ('cpu',)
    >>> placed({}, 1).of("text"), placed({}, 1).of("image"), placed({}, 1).fuse
    ('cpu', 'cuda:0', 'cuda:0')
    >>> placed({"image": "cuda:1"}, 2).of("video"), placed({"image": "cuda:1"}, 2).of("audio")
    ('cuda:1', 'cuda:0')
    """
    usual = "cuda:0" if num_gpus else "cpu"
    rest = asked.get(REST, usual)
    named = {name: device for name, device in asked.items() if name not in (REST, FUSE)}
    if not asked and num_gpus:
        named["text"] = "cpu"
    made = Placement(named=named, rest=rest, fuse=asked.get(FUSE, rest))
    for name, device in {**named, REST: rest, FUSE: made.fuse}.items():
        if device.startswith("cuda") and int(device.partition(":")[2]) >= num_gpus:
            raise ValueError(
                f"service.placement puts {name} on {device}, but there are {num_gpus} GPUs. "
                "Set OMNI_SERVICE__PLACEMENT to devices of this machine."
            )
    if made.of("video") != made.of("image"):
        raise ValueError(
            f"service.placement puts video on {made.of('video')} and image on {made.of('image')}, but videos go "
            "through the encoder of images. Put both on one device in OMNI_SERVICE__PLACEMENT."
        )
    return made
