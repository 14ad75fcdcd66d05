"""Apprise, behind one verb: mail, Slack, Teams and a hundred more. The only file that imports it.

Apprise says only whether it worked, and tells the reason in its log. The log is read here and kept from everybody else,
because it may quote addresses with their passwords.
"""

from __future__ import annotations

import logging
import threading
from urllib.parse import quote, unquote, urlsplit

import apprise

from monitoring.notices import NotDelivered, Notice, Notifier, NullNotifier
from monitoring.notify_config import HOOKS, LOG, NotifyConfig
from monitoring.webhook import Webhook

MAIL = ("mailto", "mailtos")
KEY_HEADER = "X-Omniloop-Key"
KINDS = {
    "info": apprise.NotifyType.INFO,
    "warning": apprise.NotifyType.WARNING,
    "error": apprise.NotifyType.FAILURE,
    "critical": apprise.NotifyType.FAILURE,
}
SHORTEST_SECRET = 3
"""Parts of an address that are shorter are no secret and stay in messages."""
_SPOKEN = logging.getLogger("apprise")


class AppriseNotifier:
    """Takes notices to one Apprise address."""

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        _SPOKEN.propagate = False  # it quotes addresses
        self._url = _with(url, cto=f"{timeout_s:g}", rto=f"{timeout_s:g}")
        self._service = urlsplit(url).scheme
        if not isinstance(apprise.Apprise.instantiate(self._url), apprise.NotifyBase):
            raise ValueError(
                f"Apprise does not know what to do with an address that begins with {self._service}://. "
                "Its manual lists the services and how they are written; set OMNI_NOTIFY__RECEIVERS."
            )

    def send(self, notice: Notice) -> None:
        """Deliver it; raises `NotDelivered` with the reason that Apprise's log gives, its secrets blotted out."""
        url = _with(self._url, **{f"+{KEY_HEADER}": notice.key}) if self._service in MAIL else self._url
        service = apprise.Apprise.instantiate(url)
        assert isinstance(service, apprise.NotifyBase)
        kind = apprise.NotifyType.SUCCESS if notice.is_resolved else KINDS.get(notice.severity, KINDS["info"])
        spoken = _Ear()
        _SPOKEN.addHandler(spoken)
        try:
            is_taken = service.notify(
                body=notice.text, title=notice.title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT
            )
        except Exception as error:  # noqa: BLE001  a hundred plug-ins raise what they like
            raise NotDelivered(f"{self._service}: {blotted(f'{type(error).__name__}: {error}', url)}") from None
        finally:
            _SPOKEN.removeHandler(spoken)
        if not is_taken:
            reason = blotted("; ".join(spoken.said) or "it was refused, and Apprise did not say why", url)
            raise NotDelivered(f"{self._service}: {reason}")


class LogNotifier:
    """Writes notices to the log."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def send(self, notice: Notice) -> None:
        """One line."""
        level = logging.WARNING if notice.severity in ("error", "critical") else logging.INFO
        self._logger.log(level, "%s: %s: %s", notice.key, notice.title, notice.text.replace("\n", " | "))


def make_notifier(name: str, config: NotifyConfig, logger: logging.Logger) -> Notifier:
    """The notifier of a receiver; `ValueError` if its address is of no use, `LookupError` if there is none."""
    if name == LOG:
        return LogNotifier(logger)
    if name not in config.addresses:
        raise LookupError(
            f"There is no receiver {name!r}; there are {', '.join(config.names)}. Set OMNI_NOTIFY__RECEIVERS."
        )
    address = str(config.addresses[name])
    if address.lower().startswith("null://"):
        return NullNotifier()
    if not address.lower().startswith(HOOKS):
        return AppriseNotifier(address, timeout_s=config.timeout_s)
    return Webhook(
        address[len("hook+") :],
        config.signing_key,
        allow_private=config.allow_private,
        timeout_s=config.timeout_s,
    )


def blotted(text: str, url: str) -> str:
    """Text without anything that stands in an address; only a mail server's name stays, as elsewhere it may be a token.

    >>> blotted("login of eve with s3cret failed at mail.example.org", "mailto://eve:s3cret@mail.example.org")
    'login of *** with *** failed at mail.example.org'
    """
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    pieces = [*user.split(":"), *parts.path.split("/")]
    if parts.scheme not in MAIL:
        pieces += [host, host.partition(":")[0], parts.hostname or ""]
    for pair in parts.query.split("&"):
        pieces.append(pair.partition("=")[2])
    secrets = {form for piece in pieces for form in (piece, unquote(piece)) if len(form) >= SHORTEST_SECRET}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _with(url: str, **options: str) -> str:
    """The address with more options; those that it has already stay."""
    known = {pair.partition("=")[0] for pair in urlsplit(url).query.split("&")}
    more = "&".join(
        f"{quote(name, safe='+')}={quote(value, safe='')}" for name, value in options.items() if name not in known
    )
    if not more:
        return url
    return url + ("&" if "?" in url else "?") + more


class _Ear(logging.Handler):
    """Keeps what is said at WARNING and above in the thread that made it: another one may speak to another receiver."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.said.append(record.getMessage())
