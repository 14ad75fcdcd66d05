"""How the edge answers, whom it asks, and how much it keeps. Importing this file imports nothing heavy.

>>> EdgeConfig(confidence=1.5)
Traceback (most recent call last):
ValueError: edge.confidence must lie in [0, 1], got 1.5. Set OMNI_EDGE__CONFIDENCE.
>>> EdgeConfig(cloud="ftp://example.org")
Traceback (most recent call last):
ValueError: edge.cloud must start with http:// or https://, got 'ftp://example.org'. Set OMNI_EDGE__CLOUD.
"""

from dataclasses import dataclass, field

from flows.service.config import LOOPBACK, MIN_KEY_CHARS
from omni_model.serve.config import EngineConfig

ABOVE_ZERO = (
    "deadline_s",
    "ready_deadline_s",
    "max_body_bytes",
    "body_bytes",
    "read_timeout_s",
    "max_connections",
    "max_samples",
    "cloud_timeout_s",
    "pause_s",
    "longest_pause_s",
    "spool_bytes",
    "sync_every_s",
    "sync_rows",
    "sync_bytes",
)


@dataclass(frozen=True, kw_only=True)
class EdgeConfig(EngineConfig):
    """The edge's address, limits, cloud and spool, beside the bounds of its engine."""

    host: str = "127.0.0.1"
    """Address to listen at; one other than this machine's own needs a key."""
    port: int = 8766
    """Port to listen at; 0 takes a free one."""
    api_key: str = field(default="", repr=False)
    """What the edge's own clients send as `Authorization: Bearer …`; empty: nobody is asked."""
    deadline_s: float = 10.0
    """Seconds after which a request is no longer computed, unless it says less itself."""
    ready_deadline_s: float = 2.0
    """Seconds within which the canary must be answered for the edge to be ready."""
    max_body_bytes: int = 32 * 2**20
    """Bytes of a request's body at most."""
    body_bytes: int = 256 * 2**20
    """Bytes of all bodies that are being read together; further ones are refused for now."""
    read_timeout_s: float = 30.0
    """Seconds within which a request must be there, its body included; then its connection is closed."""
    max_connections: int = 1024
    """Open connections at most; on further ones requests are refused for now."""
    max_samples: int = 64
    """Samples of one batch request at most."""
    drain_s: int = 3
    """Seconds that requests on their way get when the edge is told to stop."""
    confidence: float = 0.8
    """Probability below which the cloud is asked; 0 never asks, 1 asks whenever it is not certain."""
    cloud: str = ""
    """Address of the live service in the cloud, such as https://models.example.org; empty: the edge is alone."""
    cloud_key: str = field(default="", repr=False)
    """Key for the cloud with the scopes predict and feedback; empty: none is sent."""
    cloud_timeout_s: float = 2.0
    """Seconds that the cloud has for an answer; then the edge's own one counts."""
    failures: int = 3
    """Failures of the cloud in a row after which it is left alone for a while."""
    pause_s: float = 5.0
    """Seconds that it is left alone at first; doubled each time it fails again."""
    longest_pause_s: float = 60.0
    """Seconds that it is left alone at most."""
    spool_bytes: int = 256 * 2**20
    """Bytes that may wait to be synced; above them, the oldest answers without feedback are dropped and counted."""
    sync_every_s: float = 5.0
    """Seconds between two looks at what waits."""
    sync_rows: int = 64
    """Answers sent at once at most."""
    sync_bytes: int = 8 * 2**20
    """Bytes of inputs sent at once, except that one answer is always sent whole."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"edge.port must lie in [0, 65535], got {self.port}. Set OMNI_EDGE__PORT.")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"edge.confidence must lie in [0, 1], got {self.confidence}. Set OMNI_EDGE__CONFIDENCE.")
        for name in ABOVE_ZERO:
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"edge.{name} must be above 0, got {getattr(self, name)}. Set OMNI_EDGE__{name.upper()}."
                )
        if self.failures < 1:
            raise ValueError(f"edge.failures must be 1 or more, got {self.failures}. Set OMNI_EDGE__FAILURES.")
        if self.cloud and not self.cloud.startswith(("http://", "https://")):
            raise ValueError(
                f"edge.cloud must start with http:// or https://, got {self.cloud!r}. Set OMNI_EDGE__CLOUD."
            )
        if self.api_key and len(self.api_key) < MIN_KEY_CHARS:
            raise ValueError(
                f"edge.api_key must have {MIN_KEY_CHARS} characters or more, got {len(self.api_key)}. "
                "Make one with `openssl rand -hex 24` and set OMNI_EDGE__API_KEY."
            )
        if self.host not in LOOPBACK and not self.api_key:
            raise ValueError(
                f"edge.host {self.host!r} is open to the network but there is no key. Set OMNI_EDGE__API_KEY."
            )
