"""Signed webhooks, after the Standard Webhooks convention (standardwebhooks.com): a POST of JSON with three headers.

`webhook-id` is the idempotency key, `webhook-timestamp` the seconds since 1970 at which it was signed, and
`webhook-signature` is `v1,` with base64 of HMAC-SHA256 over `id.timestamp.body`. A receiver refuses what is unsigned or
older than five minutes, and does not act twice on one id (`verify` is that check).

The name of the host is looked up once, every address it has must be allowed, and the connection goes to the address
that was looked at; redirects are not followed. So nobody who controls a name reaches what lies inside the network.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import socket
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit, urlunsplit

import httpx

from monitoring.notices import NotDelivered, Notice

TOLERANCE_S = 300.0
"""How old a signature may be."""
LEAST_KEY = 24
GONE = 410
NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]


class Webhook:
    """Posts notices to one address. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        allow_private: bool = False,
        timeout_s: float = 10.0,
        clock: Callable[[], float] = time.time,
        resolve: Resolve | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._parts = urlsplit(url)
        if self._parts.scheme not in ("http", "https") or not self._parts.hostname:
            raise ValueError("A webhook's address must look like https://host/path. Set OMNI_NOTIFY__RECEIVERS.")
        self._host = self._parts.hostname
        self._port = self._parts.port or (443 if self._parts.scheme == "https" else 80)
        self._key = key_of(key)
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._clock = clock
        self._resolve = resolve or resolved
        self._transport = transport

    def send(self, notice: Notice) -> None:
        """Post it; any 2xx means taken."""
        body = json.dumps(document(notice), sort_keys=True, allow_nan=False, default=str).encode()
        timestamp = str(int(self._clock()))
        headers = {
            "Host": self._parts.netloc.rpartition("@")[2],
            "Content-Type": "application/json",
            "User-Agent": "omniloop",
            "webhook-id": notice.key,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature(self._key, notice.key, timestamp, body),
        }
        try:
            with (
                httpx.Client(transport=self._transport, trust_env=False, timeout=self._timeout_s) as client,
                client.stream(
                    "POST",
                    self._pinned(),
                    content=body,
                    headers=headers,
                    extensions={"sni_hostname": self._host},
                    follow_redirects=False,
                ) as response,
            ):
                _judge(response, self._host)
        except httpx.HTTPError as error:
            raise NotDelivered(f"{self._host} could not be reached: {type(error).__name__}.") from error

    def _pinned(self) -> str:
        """The address with the host replaced by the one address that was looked at."""
        try:
            found = [ipaddress.ip_address(each.partition("%")[0]) for each in self._resolve(self._host, self._port)]
        except (OSError, UnicodeError) as error:
            raise NotDelivered(f"The name {self._host} could not be looked up: {error}.") from error
        if not found:
            raise NotDelivered(f"The name {self._host} has no address.")
        inside = [str(address) for address in found if not is_public(address)]
        if inside and not self._allow_private:
            raise NotDelivered(
                f"{self._host} is {', '.join(inside)}, inside the network, and webhooks do not go there. "
                "Set OMNI_NOTIFY__ALLOW_PRIVATE=true if it is meant to.",
            )
        address = found[0]
        host = f"[{address}]" if address.version == 6 else str(address)
        return urlunsplit((self._parts.scheme, f"{host}:{self._port}", self._parts.path or "/", self._parts.query, ""))


def document(notice: Notice) -> dict[str, object]:
    """What is posted: `type`, `key`, `title`, `text`, `severity`, and `data` for programs."""
    return {
        "type": "omniloop.notice",
        "key": notice.key,
        "title": notice.title,
        "text": notice.text,
        "severity": notice.severity,
        "is_resolved": notice.is_resolved,
        "data": _finite(dict(notice.data)),
    }


def signature(key: bytes, id_: str, timestamp: str, body: bytes) -> str:
    """`v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`; here on the example that the convention publishes.

    >>> key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signed = b".".join((id_.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def verify(key: str, id_: str, timestamp: str, body: bytes, given: str, *, now: float) -> bool:
    """Whether a signature (of several, separated by spaces, any) is right and young enough."""
    try:
        age_s = abs(now - int(timestamp))
    except ValueError:
        return False
    wanted = signature(key_of(key), id_, timestamp, body)
    return age_s <= TOLERANCE_S and any(hmac.compare_digest(wanted, each) for each in given.split())


def key_of(text: str) -> bytes:
    """The bytes of a key: base64 after `whsec_`, or the text itself; `ValueError` if shorter than 24 bytes.

    >>> len(key_of("whsec_" + "A" * 32)), len(key_of("x" * 30))
    (24, 30)
    """
    try:
        key = base64.b64decode(text[6:], validate=True) if text.startswith("whsec_") else text.encode()
    except binascii.Error as error:
        raise ValueError("The signing key is no base64 after whsec_. Set OMNI_NOTIFY__SIGNING_KEY.") from error
    if len(key) < LEAST_KEY:
        raise ValueError(
            f"The signing key has {len(key)} bytes; it needs {LEAST_KEY} or more. Set OMNI_NOTIFY__SIGNING_KEY."
        )
    return key


def is_public(address: Address) -> bool:
    """Whether an address lies outside: not private, local, reserved or multicast, nor one of those in disguise.

    >>> [is_public(ipaddress.ip_address(text)) for text in ("8.8.8.8", "10.0.0.1", "::ffff:127.0.0.1", "2002:7f00:1::")]
    [True, False, False, False]
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a name, as the operating system gives them."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _judge(response: httpx.Response, host: str) -> None:
    status = response.status_code
    if response.is_success:
        return
    if response.is_redirect:
        raise NotDelivered(f"{host} answered {status} and sends elsewhere; give the final address as the receiver's.")
    if status == GONE:
        raise NotDelivered(f"{host} answered 410: this webhook is gone. Remove the receiver.", is_final=True)
    given = response.headers.get("retry-after", "")
    wait_s = float(given) if given.isascii() and given.isdigit() else None
    raise NotDelivered(f"{host} answered {status}.", wait_s=wait_s)


def _finite(value: object) -> object:
    """The same value with NaN and infinity as None: JSON has neither."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list | tuple) else value
