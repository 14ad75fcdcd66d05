"""What the log of answers keeps: which requests, and which of their fields.

A share is taken by the request's key, or by its content: the same client, or the same content, is always in or always
out. The place is drawn apart from that of a canary, so that a log of a tenth is no log of the canary alone.

>>> LogPolicy(share=0.0).takes(Request(id="1", task="digit")), LogPolicy().takes(Request(id="1", task="digit"))
(False, True)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from zlib import crc32

from omni_model.serve.exchange import Request
from omni_model.serve.trial import place_of


@dataclass(frozen=True, kw_only=True)
class LogPolicy:
    """The share of requests that is logged, and what is left out of them."""

    share: float = 1.0
    """Of the requests, 0-1."""
    omit: frozenset[str] = field(default_factory=frozenset)
    """Modalities and fields that are not stored, nor anything made of their content."""
    salt: bytes = field(default=b"", repr=False)
    """A secret, so that nobody can choose keys or content that are logged, or that are not."""

    def takes(self, request: Request) -> bool:
        """Whether a request's answer is logged."""
        return self.share >= 1 or (self.share > 0 and place_of(f"log {mark_of(request)}", self.salt) < self.share)

    def kept(self, fields: Mapping[str, str]) -> dict[str, str]:
        """The fields with those that are left out empty."""
        return {name: "" if name in self.omit else value for name, value in fields.items()}

    def keeps_sample(self, request: Request, used: tuple[str, ...]) -> bool:
        """Whether the sample behind a request can be stored: without a part of it, it would be another one."""
        if request.instruction and "instruction" in self.omit:
            return False
        return self.omit.isdisjoint(used)


def mark_of(request: Request) -> str:
    """What a request is known by from one time to the next: its key, or the checksums of its content."""
    if request.key:
        return request.key
    parts = (f"{name} {crc32(content)} {len(content)}" for name, content in sorted(request.content.items()))
    return " ".join((request.task, request.instruction, *parts))
