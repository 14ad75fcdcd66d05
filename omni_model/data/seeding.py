"""Random numbers that depend on a name alone."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def rng_of(name: str) -> np.random.Generator:
    """A generator seeded by a name, so that a sample does not depend on which others are made, or in what order.

    >>> int(rng_of("tri-en-0000-0").integers(1000)) == int(rng_of("tri-en-0000-0").integers(1000))
    True
    """
    return np.random.Generator(np.random.PCG64(int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "big")))
