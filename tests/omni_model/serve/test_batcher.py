"""The micro-batcher: order, bounds, deadlines, and a failure that stays with whom it belongs to."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial

import pytest

from omni_model.serve.batcher import MicroBatcher
from omni_model.serve.errors import DeadlinePassed, EngineClosed, Overloaded


class Doubler:
    """Doubles numbers, remembers its batches, fails on 13, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.go.wait(10)
        self.batches.append(list(batch))
        if 13 in batch:
            raise ArithmeticError("13 is not doubled here")
        return [2 * number for number in batch]


@contextmanager
def batching(
    doubler: Doubler, max_queue: int = 100, max_rows: int = 16, max_tokens: int = 10_000
) -> Iterator[MicroBatcher[int, int]]:
    batcher = MicroBatcher(doubler, max_queue=max_queue, max_rows=max_rows, max_tokens=max_tokens)
    try:
        yield batcher
    finally:
        doubler.go.set()
        batcher.close()


@contextmanager
def held(doubler: Doubler, batcher: MicroBatcher[int, int]) -> Iterator[None]:
    """While the block runs, the thread is busy with a first request."""
    doubler.go.clear()
    first = batcher.submit(0)
    while not first.running():
        time.sleep(0.001)
    yield
    doubler.go.set()


def test_what_waits_is_taken_in_order_and_in_one_batch() -> None:
    doubler = Doubler()
    with batching(doubler) as batcher:
        with held(doubler, batcher):
            answers = [batcher.submit(number) for number in range(1, 9)]
        assert [answer.result(5) for answer in answers] == [2 * number for number in range(1, 9)]
    assert doubler.batches == [[0], list(range(1, 9))]


def test_a_batch_is_bounded_in_rows() -> None:
    doubler = Doubler()
    with batching(doubler, max_rows=3) as batcher:
        with held(doubler, batcher):
            answers = [batcher.submit(number) for number in range(1, 8)]
        assert all(answer.result(5) is not None for answer in answers)
    assert [len(batch) for batch in doubler.batches] == [1, 3, 3, 1]


def test_a_batch_is_bounded_in_tokens_as_padding_counts_them_and_a_giant_goes_alone() -> None:
    doubler = Doubler()
    with batching(doubler, max_tokens=20) as batcher:
        with held(doubler, batcher):
            answers = [batcher.submit(number, num_tokens=size) for number, size in enumerate([5, 5, 10, 500, 1, 1], 1)]
        assert all(answer.result(5) for answer in answers)
    assert doubler.batches == [[0], [1, 2], [3], [4], [5, 6]]


def test_only_the_poison_fails() -> None:
    doubler = Doubler()
    with batching(doubler) as batcher:
        with held(doubler, batcher):
            answers = {number: batcher.submit(number) for number in range(5, 20)}
        for number, answer in answers.items():
            if number == 13:
                with pytest.raises(ArithmeticError):
                    answer.result(5)
            else:
                assert answer.result(5) == 2 * number


def test_wrong_counts_of_answers_fail_rather_than_go_to_the_wrong_request() -> None:
    batcher: MicroBatcher[int, int] = MicroBatcher(lambda batch: [], max_queue=4, max_rows=4, max_tokens=4)
    with pytest.raises(RuntimeError, match="0 answers came for 1"):
        batcher.submit(1).result(5)
    batcher.close()


def test_what_is_past_its_deadline_is_not_computed() -> None:
    doubler = Doubler()
    with batching(doubler) as batcher:
        with held(doubler, batcher):
            late = batcher.submit(1, deadline=time.monotonic() - 1)
            in_time = batcher.submit(2, deadline=time.monotonic() + 60)
        with pytest.raises(DeadlinePassed):
            late.result(5)
        assert in_time.result(5) == 4
    assert doubler.batches == [[0], [2]]


def test_a_request_that_was_given_up_is_not_computed() -> None:
    doubler = Doubler()
    with batching(doubler) as batcher, held(doubler, batcher):
        assert batcher.submit(1).cancel()
    assert doubler.batches == [[0]]


def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    doubler = Doubler()
    with batching(doubler, max_queue=3) as batcher, held(doubler, batcher):
        for number in range(1, 4):
            batcher.submit(number)
        with pytest.raises(Overloaded) as refused:
            batcher.submit(4)
        assert refused.value.retry_after_s >= 0.1


def test_closing_answers_what_waits_and_takes_no_more() -> None:
    doubler = Doubler()
    batcher = MicroBatcher(doubler, max_queue=10, max_rows=4, max_tokens=100)
    answers = [batcher.submit(number) for number in range(1, 7)]
    batcher.close()
    assert [answer.result(0) for answer in answers] == [2, 4, 6, 8, 10, 12]
    with pytest.raises(EngineClosed):
        batcher.submit(1)


def test_an_idle_batcher_uses_no_time() -> None:
    with batching(Doubler()):
        before = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - before < 0.05


def test_the_spare_lane_waits_for_an_empty_queue_and_goes_in_small_batches() -> None:
    doubler = Doubler()
    batcher: MicroBatcher[int, int] = MicroBatcher(doubler, max_queue=9, max_rows=9, max_tokens=99, max_spare=6)
    with held(doubler, batcher):
        spare = [batcher.offer(number) for number in range(20, 28)]
        answers = [batcher.submit(number) for number in range(1, 4)]
        assert (len(batcher), batcher.num_spare) == (3, 6)
    assert [each.cancelled() for each in spare] == [False] * 6 + [True] * 2
    assert [each.result(5) for each in spare[:6]] == [2 * number for number in range(20, 26)]
    assert [answer.result(0) for answer in answers] == [2, 4, 6]
    assert doubler.batches == [[0], [1, 2, 3], [20, 21, 22, 23], [24, 25]]
    batcher.close()


def test_poison_in_the_spare_lane_fails_alone() -> None:
    doubler = Doubler()
    batcher: MicroBatcher[int, int] = MicroBatcher(doubler, max_queue=9, max_rows=9, max_tokens=99, max_spare=9)
    with held(doubler, batcher):
        spare = {number: batcher.offer(number) for number in (12, 13, 14)}
    assert (spare[12].result(5), spare[14].result(5)) == (24, 28)
    assert isinstance(spare[13].exception(5), ArithmeticError)
    batcher.close()


def test_closing_and_shedding_drop_the_spare_lane() -> None:
    doubler = Doubler()
    batcher: MicroBatcher[int, int] = MicroBatcher(doubler, max_queue=9, max_rows=9, max_tokens=99, max_spare=9)
    with held(doubler, batcher):
        shed = batcher.offer(1)
        batcher.shed()
        assert shed.cancelled()
        dropped = batcher.offer(2)
        kept = batcher.submit(3)
        closing = threading.Thread(target=batcher.close)
        closing.start()
        while not batcher._closed:
            time.sleep(0.001)
    closing.join(5)
    assert kept.result(0) == 6
    assert dropped.cancelled()
    assert batcher.offer(4).cancelled()
    assert doubler.batches == [[0], [3]]


def test_what_is_made_in_its_turn_is_answered_with_the_rest_and_fails_alone() -> None:
    doubler = Doubler()
    made: list[int] = []

    def make(number: int) -> tuple[int, int]:
        made.append(number)
        if number == 3:
            raise ValueError("3 cannot be made")
        return number, 10

    with batching(doubler, max_tokens=20) as batcher:
        with held(doubler, batcher):
            futures: list[Future[int]] = [Future() for _ in range(5)]
            for number, future in enumerate(futures, 1):
                batcher.submit_unmade(partial(make, number), deadline=time.monotonic() + 60, future=future)
            futures[1].cancel()
            late: Future[int] = Future()
            batcher.submit_unmade(partial(make, 6), deadline=time.monotonic() - 1, future=late)
            assert made == []
        assert [futures[place].result(5) for place in (0, 3, 4)] == [2, 8, 10]
        with pytest.raises(ValueError, match="3 cannot be made"):
            futures[2].result(5)
        with pytest.raises(DeadlinePassed):
            late.result(5)
    assert made == [1, 3, 4, 5]
    assert doubler.batches == [[0], [1, 4], [5]]  # bounded in tokens once they are known
