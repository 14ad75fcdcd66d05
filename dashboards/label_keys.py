"""Which key gives which answer: a digit answers itself, everything else gets the next free key."""

from __future__ import annotations

from collections.abc import Sequence

RESERVED = frozenset("sudz")
"""Keys that do something else: skip, undo, disagree, zoom."""
FREE = tuple("1234567890") + tuple(letter for letter in "qwertyiopafghjklxcvbnm" if letter not in RESERVED)
MOST = len(FREE)
"""With more answers than that, people search in a list."""


def keys_of(answers: Sequence[str]) -> tuple[str, ...]:
    """A key for each answer; empty strings if there are too many for keys.

    >>> keys_of(["0", "1", "2"]), keys_of(["cat", "dog"]), keys_of(["a", "B"])
    (('0', '1', '2'), ('1', '2'), ('a', 'b'))
    >>> keys_of(["s", "t"]), set(keys_of([str(number) for number in range(40)]))
    (('1', '2'), {''})
    """
    own = tuple(answer.lower() for answer in answers)
    if len(set(own)) == len(own) and all(key in FREE for key in own):
        return own
    return FREE[: len(answers)] if len(answers) <= MOST else ("",) * len(answers)
