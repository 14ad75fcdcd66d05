"""A model whose encoders can be made slow, and its heap a mess, from outside the process: the faults of a bench.

It is named in `OMNI_OWN_MODEL` of the service alone; `BENCH_FAULTS` names a folder, and a file in it is a fault.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from omni_model.model import OmniModel
from omni_model.protocol import register_model
from omni_model.sample import TaskSpec

FAULTS = "BENCH_FAULTS"
SLOW, PIECES = "slow", "pieces"
SLOW_S = 0.03
"""What a slow encoder takes more, for each block that it encodes."""
PIECE_BYTES, NUM_PIECES, KEPT = 64_000, 30_000, 20
"""1.9 GB in pieces below the size that glibc takes from the system one by one; every twentieth is kept.
Few of its pages are ever touched."""


class Pieces:
    """Memory that is taken in small pieces and given back but for every twentieth, so that the heap cannot shrink."""

    def __init__(self) -> None:
        self._c = ctypes.CDLL(ctypes.util.find_library("c"))
        self._c.malloc.restype, self._c.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        self._c.free.argtypes = [ctypes.c_void_p]
        taken = [self._c.malloc(PIECE_BYTES) for _ in range(NUM_PIECES)]
        self._kept = taken[::KEPT]
        for place, piece in enumerate(taken):
            if place % KEPT:
                self._c.free(piece)


@register_model
class Breakable(OmniModel):
    """An `OmniModel` that heeds the folder of faults."""

    architecture = "benchmark-breakable"
    _pieces: Pieces | None = None

    def encode(self, name: str, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The usual, after what the faults do."""
        if folder := os.environ.get(FAULTS):
            self._heed(Path(folder))
        return super().encode(name, x, mask)

    def _heed(self, folder: Path) -> None:
        if (folder / SLOW).exists():
            time.sleep(SLOW_S)
        if (folder / PIECES).exists() and self._pieces is None:
            self._pieces = Pieces()

    @classmethod
    def build(cls, description: Mapping[str, Any], tasks: Sequence[TaskSpec]) -> Breakable:
        """The same shape as `OmniModel.build` gives."""
        made = OmniModel.build(description, tasks)
        return cls(made.config, made.tasks)
