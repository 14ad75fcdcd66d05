"""Evidence that may be looked at after every pair: the winnings of fair bets (e-processes).

A gambler who starts with 1 and bets against a hypothesis under which the bets are fair, or worse, ever multiplies the
stake by 1/alpha with a chance of at most alpha (Ville 1939). So the evidence may be read whenever one likes. We average
gamblers with fixed stakes; the wealth then depends on the counts alone, not on the order of the pairs (Waudby-Smith and
Ramdas 2024; Howard et al. 2021).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.integer[Any]]
_FALL_STAKES_G = np.array([0.12, 0.28, 0.45, 0.55, 0.9])
_FALL_WEIGHTS_G = np.array([0.10, 0.15, 0.35, 0.30, 0.10])
_SAFE_SHARES_G = np.array([0.1, 0.2, 0.3, 0.45, 0.65, 0.9])
_SAFE_WEIGHTS_G = np.full(6, 1 / 6)


def log_evidence_of_fall(num_lost: Counts | int, num_won: Counts | int) -> NDArray[np.float64]:
    """ln of the wealth won against "new is at least as often right as old".

    Bets g that a discordant pair was lost: a lost pair (old right, new wrong) multiplies by 1 + g, a won one by 1 - g.

    >>> round(float(log_evidence_of_fall(10, 0)), 2)
    4.62
    """
    lost, won = np.asarray(num_lost)[..., None], np.asarray(num_won)[..., None]
    return _mixture(lost * np.log1p(_FALL_STAKES_G) + won * np.log1p(-_FALL_STAKES_G), _FALL_WEIGHTS_G)


def log_evidence_of_safety(
    num_both: Counts | int, num_lost: Counts | int, num_won: Counts | int, max_relative_fall: float
) -> NDArray[np.float64]:
    """ln of the wealth won against "new has fallen by the relative limit m or more".

    Bets on d = new - (1 - m)·old, which is m for a pair both had right, m - 1 for a lost and 1 for a won one, and whose
    mean is at most 0 under that hypothesis. Stakes are shares of the largest one that cannot go bankrupt, 1 / (1 - m).

    >>> round(float(log_evidence_of_safety(200, 0, 0, 0.05)), 2)
    7.55
    """
    both, lost, won = (np.asarray(count)[..., None] for count in (num_both, num_lost, num_won))
    stake_G = _SAFE_SHARES_G / (1 - max_relative_fall)
    return _mixture(
        both * np.log1p(stake_G * max_relative_fall)
        + lost * np.log1p(-stake_G * (1 - max_relative_fall))
        + won * np.log1p(stake_G),
        _SAFE_WEIGHTS_G,
    )


def _mixture(log_wealth_G: NDArray[np.float64], weight_G: NDArray[np.float64]) -> NDArray[np.float64]:
    """ln of the weighted mean of the wealths over the last axis, without overflow."""
    top = log_wealth_G.max(axis=-1)
    return np.asarray(top + np.log(np.exp(log_wealth_G - top[..., None]) @ weight_G))
