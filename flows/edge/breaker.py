"""A circuit breaker: who failed several times in a row is left alone for a while, then tried by one request."""

import threading
import time
from collections.abc import Callable


class Breaker:
    """Counts failures in a row. Thread-safe.

    Closed, everything passes. After `failures` of them it is open: nothing passes for `pause_s`. Then one request
    passes as a trial: its success closes the breaker, its failure opens it for twice as long, up to `longest_pause_s`.

    >>> now = [0.0]
    >>> breaker = Breaker(failures=2, pause_s=5, longest_pause_s=60, clock=lambda: now[0])
    >>> breaker.failed(); breaker.failed(); breaker.lets_pass()
    False
    >>> now[0] = 5.0
    >>> breaker.lets_pass(), breaker.lets_pass()  # one trial, and nobody beside it
    (True, False)
    >>> breaker.worked(); breaker.state
    'closed'
    """

    def __init__(
        self,
        *,
        failures: int,
        pause_s: float,
        longest_pause_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures, self._first_s, self._longest_s, self._clock = failures, pause_s, longest_pause_s, clock
        self._lock = threading.Lock()
        self._num_failed = 0
        self._pause_s = pause_s
        self._open_until: float | None = None
        self._trial_until: float | None = None

    @property
    def state(self) -> str:
        """closed, open or half-open."""
        with self._lock:
            if self._open_until is None:
                return "closed"
            return "open" if self._clock() < self._open_until else "half-open"

    def lets_pass(self) -> bool:
        """Whether to try now. Tell afterwards how it went; a trial that never tells is forgotten after a pause."""
        with self._lock:
            now = self._clock()
            if self._open_until is None:
                return True
            if now < self._open_until or (self._trial_until is not None and now < self._trial_until):
                return False
            self._trial_until = now + self._pause_s
            return True

    def worked(self) -> None:
        """It answered."""
        with self._lock:
            self._num_failed, self._open_until, self._trial_until = 0, None, None
            self._pause_s = self._first_s

    def failed(self) -> None:
        """It did not answer."""
        with self._lock:
            self._num_failed += 1
            if self._open_until is not None:
                if self._trial_until is None:
                    return  # one that was on its way as the breaker opened
                self._pause_s = min(2 * self._pause_s, self._longest_s)
            if self._num_failed >= self._failures:
                self._open_until, self._trial_until = self._clock() + self._pause_s, None
