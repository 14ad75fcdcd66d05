"""The bounded memory of one pass: the rows of the highest keys, however long the stream.

Rows are written one after another into a buffer of 2 x `keep` rows, which is cut back to `keep` whenever it is full.
The cuts fall at fixed places of the stream, not of its batches: what stays depends on the order of the rows alone.

Shapes: N rows of a batch, P rows held.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from omni_model.acquisition.candidates import BoolArray, FloatArray, IntArray

FIRST_ROWS = 1024
Columns = dict[str, npt.NDArray[Any]]


Thin = Callable[[Columns, IntArray], IntArray]
"""(columns, order) -> the rows of `order` that are worth keeping, in the same order."""


def keep_all(columns: Columns, order_P: IntArray) -> IntArray:
    """Thin nothing: every row is worth its key."""
    return order_P


class Reservoir:
    """Keeps the `keep` rows of the highest keys; among equal keys, those of the lowest `tie`.

    `thin` says at each cut which rows are worth keeping at all.
    """

    def __init__(self, keep: int, thin: Thin = keep_all) -> None:
        self._keep = keep
        self._thin = thin
        self._columns: Columns = {}
        self._num_held = 0
        self._floor: tuple[float, float] | None = None  # (key, tie) of the last row kept, once `keep` are held

    def offer(self, key: FloatArray, tie: FloatArray, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Offer N rows: keys, ties and any number of named columns of N rows, the same names in every call."""
        offered: Columns = {"key": key, "tie": tie, **columns}
        rows = np.flatnonzero(self._above_floor(key, tie)) if self._keep else np.zeros(0, dtype=np.intp)
        while len(rows):
            if self._num_held == 2 * self._keep:
                self._cut()
                rows = rows[self._above_floor(key[rows], tie[rows])]
            now, rows = np.split(rows, [2 * self._keep - self._num_held])
            self._write(offered, now)

    def held(self) -> Columns:
        """The rows held (at most 2 x `keep`), highest key first; no columns where nothing was offered."""
        order_P = self._order()
        return {name: column[order_P] for name, column in self._columns.items()}

    def _above_floor(self, key: FloatArray, tie: FloatArray) -> BoolArray:
        if self._floor is None:
            return np.ones(len(key), dtype=bool)
        floor_key, floor_tie = self._floor
        return np.asarray((key > floor_key) | ((key == floor_key) & (tie < floor_tie)))

    def _write(self, offered: Columns, rows: IntArray) -> None:
        stop = self._num_held + len(rows)
        for name, values in offered.items():
            self._columns[name] = self._grown(self._columns.get(name), values, stop)
            self._columns[name][self._num_held : stop] = values[rows]
        self._num_held = stop

    def _grown(self, column: npt.NDArray[Any] | None, like: npt.NDArray[Any], num_rows: int) -> npt.NDArray[Any]:
        """The column with room for `num_rows`: it doubles up to 2 x `keep`, so that a small pool costs little."""
        if column is not None and len(column) >= num_rows:
            return column
        size = min(2 * self._keep, max(FIRST_ROWS, 2 * num_rows))
        grown = np.empty((size, *like.shape[1:]), dtype=like.dtype)
        if column is not None:
            grown[: self._num_held] = column[: self._num_held]
        return grown

    def _order(self) -> IntArray:
        if not self._num_held:
            return np.zeros(0, dtype=np.intp)
        return np.lexsort((self._columns["tie"][: self._num_held], -self._columns["key"][: self._num_held]))

    def _cut(self) -> None:
        kept_P = self._thin(self._columns, self._order())[: self._keep]
        full = len(kept_P) == self._keep
        self._floor = (self._columns["key"][kept_P[-1]], self._columns["tie"][kept_P[-1]]) if full else None
        for column in self._columns.values():
            column[: len(kept_P)] = column[kept_P]
        self._num_held = len(kept_P)
