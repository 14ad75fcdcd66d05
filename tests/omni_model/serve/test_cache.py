"""The feature cache: found again, bounded, computed once, and never across encoders."""

import threading
import time
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from omni_model.serve.cache import ENTRY_BYTES, FeatureCache, Key

SECRET = bytes(range(32))
SIZE = 4 * 8 * 4 + ENTRY_BYTES


def tokens(keys: Sequence[Key]) -> dict[Key, Tensor]:
    return {key: torch.full((4, 8), float(key.content[0])) for key in keys}


def never(keys: Sequence[Key]) -> Mapping[Key, Tensor]:
    raise AssertionError(f"computed {keys} again")


def test_what_was_computed_is_found_again() -> None:
    cache = FeatureCache(10 * SIZE, secret=SECRET)
    key = cache.key("text", "encoders", b"seven")
    first = cache.fetch([key, key], tokens)
    assert cache.fetch([key], never)[key] is first[key]
    counts = cache.counts()
    assert (counts.num_hits, counts.num_misses, counts.num_bytes) == (1, 1, SIZE)


@pytest.mark.parametrize(
    "other", [("image", "encoders", b"seven"), ("text", "others", b"seven"), ("text", "encoders", b"7")]
)
def test_other_block_encoders_or_content_miss(other: tuple[str, str, bytes]) -> None:
    cache = FeatureCache(10 * SIZE, secret=SECRET)
    cache.fetch([cache.key("text", "encoders", b"seven")], tokens)
    assert cache.key(*other) not in cache


def test_hashes_differ_between_secrets() -> None:
    one, other = (FeatureCache(0, secret=bytes([byte]) * 32) for byte in (1, 2))
    assert one.key("text", "encoders", b"seven") != other.key("text", "encoders", b"seven")


def test_the_least_recently_used_goes_first_and_the_bound_holds() -> None:
    cache = FeatureCache(3 * SIZE, secret=SECRET)
    keys = [cache.key("text", "encoders", bytes([number])) for number in range(4)]
    cache.fetch(keys[:3], tokens)
    cache.fetch(keys[:1], never)
    cache.fetch(keys[3:], tokens)
    assert [key in cache for key in keys] == [True, False, True, True]
    assert cache.counts().num_bytes == 3 * SIZE


def test_without_memory_nothing_is_kept() -> None:
    cache = FeatureCache(0, secret=SECRET)
    key = cache.key("text", "encoders", b"seven")
    assert torch.equal(cache.fetch([key], tokens)[key], tokens([key])[key])
    assert key not in cache


def test_threads_that_miss_together_compute_once() -> None:
    cache = FeatureCache(100 * SIZE, secret=SECRET)
    keys = [cache.key("text", "encoders", bytes([number])) for number in range(6)]
    computed: list[Key] = []

    def slowly(missing: Sequence[Key]) -> Mapping[Key, Tensor]:
        computed.extend(missing)
        time.sleep(0.05)
        return tokens(missing)

    def fetch(turn: int) -> None:
        wanted = keys[turn:] + keys[:turn]
        assert set(cache.fetch(wanted, slowly)) == set(keys)

    threads = [threading.Thread(target=fetch, args=(turn,)) for turn in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(computed) == sorted(keys)


def test_a_failure_is_not_kept_and_who_waited_computes_for_itself() -> None:
    cache = FeatureCache(100 * SIZE, secret=SECRET)
    key = cache.key("text", "encoders", b"seven")
    started = threading.Event()

    def fail(missing: Sequence[Key]) -> Mapping[Key, Tensor]:
        started.set()
        time.sleep(0.05)
        raise ArithmeticError("no")

    def first() -> None:
        with pytest.raises(ArithmeticError):
            cache.fetch([key], fail)

    thread = threading.Thread(target=first)
    thread.start()
    started.wait(5)
    assert key in cache.fetch([key], tokens)
    thread.join(5)
