"""How the live service listens and how much it takes at once. Importing this file imports nothing heavy.

>>> ServiceConfig(deadline_s=0)
Traceback (most recent call last):
ValueError: service.deadline_s must be above 0, got 0. Set OMNI_SERVICE__DEADLINE_S.
>>> ServiceConfig(uri_prefixes=("ftp://host/",))
Traceback (most recent call last):
ValueError: service.uri_prefixes must be like https://host/folder/, got 'ftp://host/'. Set OMNI_SERVICE__URI_PREFIXES.
"""

from dataclasses import dataclass, field

from omni_model.serve.config import EngineConfig

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MIN_KEY_CHARS = 16
URI_SCHEMES = ("file", "http", "https", "s3", "gs", "abfs", "az", "memory")
LOG_MODALITIES = ("text", "image", "audio", "video", "sensor")
LOG_FIELDS = (*LOG_MODALITIES, "instruction", "source", "domain", "item", "request_id", "key")
"""What the log can leave out: modalities, and fields of a request."""
NOTHING_SERVED = "no version is in service"
"""What readiness says before the first promotion."""


@dataclass(frozen=True, kw_only=True)
class ServiceConfig(EngineConfig):
    """The service's address, limits and patience, beside the bounds of its engine."""

    host: str = "127.0.0.1"
    """Address to listen at; at one other than this machine's own the service starts only if there is a key."""
    port: int = 8765
    """Port to listen at; 0 takes a free one."""
    api_key: str = field(default="", repr=False)
    """A key that may do everything, beside those of `omniloop keys`; empty: none."""
    uri_prefixes: tuple[str, ...] = ()
    """What URIs in requests may begin with, each a scheme, a host and a folder that ends with a slash; none: none."""
    uri_timeout_s: float = 5.0
    """Seconds within which the URIs of one sample must be read."""
    deadline_s: float = 10.0
    """Seconds after which a request is no longer computed, unless it says less itself."""
    ready_deadline_s: float = 2.0
    """Seconds within which the canary must be answered for the service to be ready."""
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
    log_rows: int = 2_000
    """Answers that may wait to be logged; further ones are not logged, and counted."""
    log_bytes: int = 128 * 2**20
    """Bytes of inputs that may wait to be logged."""
    log_share: float = 1.0
    """Share of the requests whose answers are logged, 0-1; by key or content, so always the same ones. Feedback on the
    others is refused."""
    log_omit: tuple[str, ...] = ()
    """Modalities and fields that the log leaves out, such as image or request_id; nothing of their content is kept. The
    sample of an answer that rests on such a modality is not stored."""
    log_days: float = 0.0
    """Days after which answers without feedback, and samples that only they brought, are deleted; 0 keeps them."""
    poll_s: float = 0.5
    """Between two looks at which version is in service."""
    drain_s: int = 3
    """Seconds that requests on their way get when the service is told to stop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"service.port must lie in [0, 65535], got {self.port}. Set OMNI_SERVICE__PORT.")
        for name in (
            "deadline_s",
            "ready_deadline_s",
            "uri_timeout_s",
            "max_body_bytes",
            "read_timeout_s",
            "max_connections",
            "max_samples",
            "log_rows",
            "poll_s",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"service.{name} must be above 0, got {getattr(self, name)}. Set OMNI_SERVICE__{name.upper()}."
                )
        if self.body_bytes < self.max_body_bytes:
            raise ValueError(
                f"service.body_bytes must be service.max_body_bytes ({self.max_body_bytes}) or more, "
                f"got {self.body_bytes}. Set OMNI_SERVICE__BODY_BYTES."
            )
        if not 0 <= self.log_share <= 1:
            raise ValueError(
                f"service.log_share must lie in [0, 1], got {self.log_share}. Set OMNI_SERVICE__LOG_SHARE."
            )
        if not self.log_days >= 0:
            raise ValueError(f"service.log_days must be 0 or more, got {self.log_days}. Set OMNI_SERVICE__LOG_DAYS.")
        for name in self.log_omit:
            if name not in LOG_FIELDS:
                raise ValueError(
                    f"service.log_omit knows {', '.join(LOG_FIELDS)}, got {name!r}. Set OMNI_SERVICE__LOG_OMIT."
                )
        if self.api_key and len(self.api_key) < MIN_KEY_CHARS:
            raise ValueError(
                f"service.api_key must have {MIN_KEY_CHARS} characters or more, got {len(self.api_key)}. "
                "Make one with `openssl rand -hex 24` and set OMNI_SERVICE__API_KEY."
            )
        for prefix in self.uri_prefixes:
            scheme, has_scheme, place = prefix.partition("://")
            if (
                scheme not in URI_SCHEMES
                or not has_scheme
                or not place.strip("/")
                or not place.endswith("/")
                or any(c in place for c in "?#@")
            ):
                raise ValueError(
                    f"service.uri_prefixes must be like https://host/folder/, got {prefix!r}. "
                    "Set OMNI_SERVICE__URI_PREFIXES."
                )
