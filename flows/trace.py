"""What is traced, and the object that traces nothing: "off" costs a call that returns."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omni_model.serve.exchange import Answer

Headers = Iterable[tuple[bytes, bytes]]
Attribute = str | int | float | bool


class Trace:
    """One request, or one part of a round, that is not traced."""

    id = ""
    """Id of the trace, 32 hexadecimal digits; empty: there is none."""

    def answered(self, answer: "Answer") -> None:
        """Take note of an answer just given; nothing is made of it before :meth:`end`."""

    def tell(self, attributes: Mapping[str, Attribute]) -> None:
        """Say more of it."""

    def end(self, name: str, status: int, attributes: Mapping[str, Attribute]) -> None:
        """The request was answered, with this HTTP status."""


UNTRACED = Trace()


class Tracing:
    """Traces nothing."""

    def begin(self, headers: Headers) -> Trace:
        """A request came in, with these headers."""
        return UNTRACED

    @contextmanager
    def step(self, name: str, attributes: Mapping[str, Attribute], *, trace_id: str = "") -> Iterator[Trace]:
        """A span as long as the block; one inside another is its child. The outermost may name its trace."""
        yield UNTRACED

    def close(self) -> None:
        """Send what waits, as long as that takes no longer than `tracing.timeout_s`."""


OFF = Tracing()
