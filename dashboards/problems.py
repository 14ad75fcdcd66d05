"""What went wrong, in words: the fact, the value, the mend, and the status that browsers and scripts get."""

from __future__ import annotations

from db.errors import BlobMissing, DatabaseUnavailable, IllegalMove, NotFound


class Problem(Exception):
    """A request that is not answered as asked."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class NotSignedIn(Problem):
    """Nobody, or somebody whose session has ended."""

    def __init__(self) -> None:
        super().__init__(401, "Sign in first. `omniloop users link NAME` prints a link.")


TITLES = {
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    409: "It has changed meanwhile",
    413: "Too large",
    415: "Not understood",
    421: "Wrong address",
    422: "That cannot be used",
    429: "Too many tries",
    503: "Something behind this page does not answer",
}
STATUS: tuple[tuple[type[Exception], int], ...] = (
    (NotFound, 404),
    (BlobMissing, 404),
    (IllegalMove, 409),
    (DatabaseUnavailable, 503),
    (ValueError, 422),
)
"""What known errors are to whoever asks; the first that fits."""


def status_of(error: Exception) -> int:
    """The status of an error that the person may be told of; 500 for what is our own fault.

    >>> status_of(ValueError("no")), status_of(IllegalMove("no")), status_of(KeyError("x"))
    (422, 409, 500)
    """
    if isinstance(error, Problem):
        return error.status
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)
