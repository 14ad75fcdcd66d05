"""Which split an item belongs to: a hash of its name, so that nothing has to be stored and nothing can drift.

Two rows of one item always fall in one split. The shares are expectations; a small set deviates by chance.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

SPLITS = ("train", "val", "test")
SALT = "omniloop"
VAL_SHARE = 0.15
TEST_SHARE = 0.25


def split_of(item: str, *, salt: str = SALT, val: float = VAL_SHARE, test: float = TEST_SHARE) -> str:
    """The split of an item: `test`, `val` or `train`. Raises `ValueError` for shares outside [0, 1] or above 1 in sum.

    >>> split_of("digit-0000"), split_of("digit-0001"), split_of("digit-0002")
    ('train', 'test', 'val')
    >>> split_of("anything", val=0.0, test=1.0)
    'test'
    """
    if not (val >= 0 and test >= 0 and val + test <= 1):
        raise ValueError(
            f"The shares of val and test must be at least 0 and at most 1 together, got val={val} and test={test}. "
            f"The usual ones are val={VAL_SHARE} and test={TEST_SHARE}."
        )
    position = unit_hash(item, salt=salt)
    if position < test:
        return "test"
    return "val" if position < test + val else "train"


def unit_hash(text: str, *, salt: str) -> float:
    """BLAKE2b of a text as a number in [0, 1), the same on every machine and in every version.

    >>> round(unit_hash("digit-0000", salt="omniloop"), 4)
    0.4647
    """
    digest = blake2b(text.encode("utf-8"), digest_size=8, person=_person(salt)).digest()
    return int.from_bytes(digest, "big") / 2**64


def split_digest(items: Iterable[str], *, salt: str = SALT, val: float = VAL_SHARE, test: float = TEST_SHARE) -> str:
    """Hex digest of who is in which split; order and repetition of items do not matter.

    Two data sets with the same digest have the same items in the same splits, so a changed digest tells that
    a stored test result is no longer about the same test split.
    """
    digest = blake2b(digest_size=16)
    for item in sorted(set(items)):
        digest.update(f"{split_of(item, salt=salt, val=val, test=test)}\t{item}\n".encode())
    return digest.hexdigest()


def _person(salt: str) -> bytes:
    """BLAKE2b takes at most 16 bytes of personalisation, so a longer salt is hashed first."""
    raw = salt.encode("utf-8")
    return raw if len(raw) <= 16 else blake2b(raw, digest_size=16).digest()
