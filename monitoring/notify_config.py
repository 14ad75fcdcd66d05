"""Who is told of alerts, and how stubbornly. Frozen values, checked when made; importing this imports nothing heavy.

>>> NotifyConfig(receivers={"ops": "mailto://mail.example.org?to=ops@example.org"}).names
('log', 'ops')
>>> NotifyConfig(timeout_s=0)
Traceback (most recent call last):
ValueError: notify.timeout_s must be above 0, got 0. Set OMNI_NOTIFY__TIMEOUT_S.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LOG = "log"
"""The receiver that is always there: the log of the process that delivers."""
ONLY = "default"
"""What the receiver is called when a single address is given instead of names with addresses."""
HOOKS = ("hook+https://", "hook+http://")
"""How the address of a signed webhook begins."""
UNSIGNED = ("json", "jsons", "xml", "xmls", "form", "forms", "apprise", "apprises")
"""Apprise's own webhooks: neither signed nor kept from addresses inside the network."""


@dataclass(frozen=True, kw_only=True)
class NotifyConfig:
    """Receivers of notices and the patience with them. Addresses hold secrets: they are never shown or logged."""

    receivers: Mapping[str, Any] | str = field(default_factory=dict, repr=False)
    """Names with addresses, `{"ops": "mailto://…", "pager": "hook+https://…"}`; or one address, called `default`.
    An address is an Apprise URL, or that of a signed webhook."""
    signing_key: str = field(default="", repr=False)
    """Signs webhooks: `whsec_` with base64 of 24 to 64 bytes, or any text of 24 characters or more."""
    of_releases: tuple[str, ...] = ()
    """Receivers that are told when a version is promoted, refused or rolled back; empty: all of them."""
    heartbeat: str = ""
    """Receiver that is sent a sign of life, so that it can raise the alarm when none comes; empty: none is."""
    heartbeat_s: float = 60.0
    """Between two signs of life."""
    allow_private: bool = False
    """Let webhooks go to addresses inside the network, such as 127.0.0.1 and 10.0.0.0/8."""
    timeout_s: float = 10.0
    """What a receiver gets for each step: to be found, to take the connection, to send the next byte."""
    total_s: float = 30.0
    """What it gets for everything together; then the attempt has failed."""
    max_attempts: int = 60
    """A message that failed this often is set aside and shown by `omniloop alerts dead`."""
    longest_wait_s: float = 600.0
    """Longest wait between two attempts; they start at two seconds and double."""
    turn_s: float = 20.0
    """A turn of deliveries ends after this; what is left waits for the next one."""

    def __post_init__(self) -> None:
        for name in ("timeout_s", "total_s", "longest_wait_s", "turn_s", "max_attempts", "heartbeat_s"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"notify.{name} must be above 0, got {value}. Set OMNI_NOTIFY__{name.upper()}.")
        for name, address in self.addresses.items():
            _check(name, address, self.signing_key)
        for field_, named in (
            ("of_releases", self.of_releases),
            ("heartbeat", (self.heartbeat,) * bool(self.heartbeat)),
        ):
            if unknown := sorted(set(named) - set(self.names)):
                raise ValueError(
                    f"notify.{field_} names {', '.join(unknown)}, but the receivers are {', '.join(self.names)}. "
                    f"Set OMNI_NOTIFY__{field_.upper()} or OMNI_NOTIFY__RECEIVERS."
                )

    @property
    def addresses(self) -> Mapping[str, Any]:
        """Address by receiver, without `log`, which has none."""
        if isinstance(self.receivers, str):
            return {ONLY: self.receivers} if self.receivers else {}
        return self.receivers

    @property
    def names(self) -> tuple[str, ...]:
        """Every receiver that a rule may name."""
        return (LOG, *self.addresses)


def _check(name: str, address: object, signing_key: str) -> None:
    """Refuse what could not be delivered to, without repeating the address: it may hold a password."""
    mend = "Set OMNI_NOTIFY__RECEIVERS."
    if name == LOG or not name or not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"A receiver's name is letters, digits, - and _, and not {LOG!r}; got {name!r}. {mend}")
    if not isinstance(address, str) or "://" not in address:
        raise ValueError(f"The address of receiver {name!r} is no URL such as mailto://… or hook+https://…. {mend}")
    if address.partition("://")[0].lower() in UNSIGNED:
        raise ValueError(
            f"Receiver {name!r} is a webhook without a signature. Write its address as hook+https://…, and give a key "
            "in OMNI_NOTIFY__SIGNING_KEY."
        )
    if address.lower().startswith(HOOKS) and not signing_key:
        raise ValueError(f"Receiver {name!r} is a webhook, and there is no key. Set OMNI_NOTIFY__SIGNING_KEY.")
