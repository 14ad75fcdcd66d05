"""Every way of telling: what all notifiers hold to, signatures, the guard of the network, and what is kept secret."""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Callable, Sequence

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.matchers import matches, parse, written
from monitoring.notices import MOST_ALERTS, NotDelivered, Notice, Notifier, NullNotifier, notice_of, one_line
from monitoring.notify import AppriseNotifier, LogNotifier, blotted, make_notifier
from monitoring.notify_config import NotifyConfig
from monitoring.webhook import Webhook, is_public, key_of, signature, verify

KEY = "whsec_" + "QUJD" * 8
LOGGER = logging.getLogger("tests.notices")
ODD = Notice(
    key="k\n1",
    title="slow\r\nBcc: eve@example.org",
    text="\x00 NaN \ud800 " + "x" * 100_000,
    severity="unheard of",
    data={"value": float("nan"), "labels": {str(number): number for number in range(10_000)}, "at": object()},
)


def webhook(
    answer: Callable[[httpx.Request], httpx.Response],
    *,
    url: str = "https://hooks.example.org/a-secret",
    resolve: Callable[[str, int], Sequence[str]] = lambda host, port: ["93.184.216.34"],
    allow_private: bool = False,
) -> Webhook:
    transport = httpx.MockTransport(answer)
    return Webhook(
        url, KEY, clock=lambda: 1_700_000_000.0, resolve=resolve, transport=transport, allow_private=allow_private
    )


def ok(_: httpx.Request) -> httpx.Response:
    return httpx.Response(204)


ALL: dict[str, Callable[[], Notifier]] = {
    "null": NullNotifier,
    "log": lambda: LogNotifier(LOGGER),
    "webhook": lambda: webhook(ok),
}
"""Notifiers whose receiver is there. Apprise's is held to the same against a real mail server in tests/flows."""


@pytest.mark.parametrize("name", ALL)
def test_a_notifier_takes_anything_and_changes_nothing(name: str) -> None:
    notifier = ALL[name]()
    for notice in (Notice(key="k", title="t", text="x"), Notice(key="", title="", text=""), ODD):
        before = repr(notice)
        notifier.send(notice)
        notifier.send(notice)
        assert repr(notice) == before


def test_a_webhook_is_signed_and_pinned_to_the_address_that_was_looked_at() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    looked_up: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        looked_up.append(f"{host}:{port}")
        return ["93.184.216.34", "2606:2800:220:1::1"]

    webhook(answer, resolve=resolve).send(Notice(key="k", title="t", text="x", data={"value": float("inf")}))
    (request,) = seen
    assert looked_up == ["hooks.example.org:443"]
    assert str(request.url) == "https://93.184.216.34/a-secret"
    assert request.headers["host"] == "hooks.example.org"
    assert request.extensions["sni_hostname"] == "hooks.example.org"
    assert json.loads(request.content)["data"] == {"value": None}
    given_ = request.headers["webhook-timestamp"], request.content, request.headers["webhook-signature"]
    assert verify(KEY, "k", *given_, now=1_700_000_100)
    assert verify(KEY, "k", *given_[:2], f"v1,other {given_[2]}", now=1_700_000_100)
    assert not verify(KEY, "k", *given_, now=1_700_000_301)
    assert not verify(KEY, "k", "soon", *given_[1:], now=1_700_000_100)


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.1.2.3"],
        ["93.184.216.34", "192.168.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["fe80::1%eth0"],
        ["::ffff:10.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["0.0.0.0"],
        ["224.0.0.1"],
        ["100.64.0.1"],
    ],
)
def test_a_webhook_does_not_go_inside_the_network(addresses: list[str]) -> None:
    def never(_: httpx.Request) -> httpx.Response:
        raise AssertionError("it went there")

    with pytest.raises(NotDelivered, match="inside the network"):
        webhook(never, resolve=lambda host, port: addresses).send(ODD)
    webhook(ok, resolve=lambda host, port: addresses, allow_private=True).send(ODD)


@pytest.mark.parametrize(
    ("answer", "message", "is_final", "wait_s"),
    [
        (httpx.Response(302, headers={"location": "http://127.0.0.1/"}), "sends elsewhere", False, None),
        (httpx.Response(410), "gone", True, None),
        (httpx.Response(503, headers={"retry-after": "120"}), "answered 503", False, 120.0),
        (httpx.Response(429, headers={"retry-after": "soon"}), "answered 429", False, None),
        (httpx.Response(400), "answered 400", False, None),
    ],
)
def test_what_is_no_success_is_told_without_the_secret_path(
    answer: httpx.Response, message: str, is_final: bool, wait_s: float | None
) -> None:
    with pytest.raises(NotDelivered, match=message) as caught:
        webhook(lambda _: answer).send(ODD)
    assert (caught.value.is_final, caught.value.wait_s) == (is_final, wait_s)
    assert "a-secret" not in str(caught.value)


def test_a_name_that_leads_nowhere_is_told() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(NotDelivered, match="could not be looked up"):
        webhook(ok, resolve=unknown).send(ODD)
    with pytest.raises(NotDelivered, match="has no address"):
        webhook(ok, resolve=lambda host, port: []).send(ODD)
    with pytest.raises(ValueError, match="https://host/path"):
        webhook(ok, url="ftp://host/x")


@pytest.mark.parametrize("text", ["", "short", "whsec_", "whsec_QUJD", "whsec_!!"])
def test_a_weak_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="OMNI_NOTIFY__SIGNING_KEY"):
        key_of(text)


@given(st.binary(), st.text(), st.integers(0, 2**40))
def test_a_signature_holds_for_what_was_signed_alone(body: bytes, id_: str, now: int) -> None:
    key = key_of(KEY)
    made = signature(key, "id", str(now), body)
    assert verify(KEY, "id", str(now), body, made, now=now)
    assert not verify(KEY, "id", str(now), body + b"x", made, now=now)
    assert id_ == "id" or not verify(KEY, "id" + id_ + "x", str(now), body, made, now=now)


@given(st.integers(0, 2**32 - 1))
def test_an_inner_address_is_one_in_every_disguise(number: int) -> None:
    plain = ipaddress.IPv4Address(number)
    for disguise in (
        f"::ffff:{plain}",
        f"64:ff9b::{plain}",
        str(ipaddress.IPv6Address((0x2002 << 112) | (number << 80))),
    ):
        assert is_public(ipaddress.ip_address(disguise)) == is_public(plain)


def test_apprise_refuses_what_it_does_not_know_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="bogus://") as caught:
        AppriseNotifier("bogus://s3cret@host")
    assert "s3cret" not in str(caught.value)


def test_a_receiver_is_made_by_its_address() -> None:
    receivers = {
        "mail": "mailto://mail.example.org?from=a@example.org&to=b@example.org",
        "hook": "hook+https://hooks.example.org/x",
        "nobody": "null://",
    }
    config = NotifyConfig(receivers=receivers, signing_key=KEY)
    made = {name: type(make_notifier(name, config, LOGGER)) for name in config.names}
    assert made == {"log": LogNotifier, "mail": AppriseNotifier, "hook": Webhook, "nobody": NullNotifier}
    with pytest.raises(LookupError, match="there are log, mail, hook, nobody"):
        make_notifier("else", config, LOGGER)
    assert NotifyConfig(receivers="null://").names == ("log", "default")


def test_every_part_of_an_address_is_blotted_out_but_a_mail_server() -> None:
    url = "slack://T0KEN/path%2Fpart/x?key=v%40lue&to=eve%40example.org"
    assert blotted("T0KEN path/part v@lue eve@example.org", url) == "*** *** *** ***"
    assert blotted("a@mail.org: p@ss refused", "mailto://p%40ss@mail.org") == "a@mail.org: *** refused"


# What is told


def alert(number: int, state: str = "firing", severity: str = "warning") -> dict[str, object]:
    return {"name": f"slow {number}", "state": state, "severity": severity, "summary": "s", "value": 1.0}


def test_a_notice_of_many_tells_the_worst_and_how_many_more_there_are() -> None:
    alerts = [*(alert(number) for number in range(30)), alert(99, "resolved", "critical"), alert(98, severity="error")]
    notice = notice_of("k", {"alerts": alerts})
    assert notice.severity == "error"
    assert notice.title.startswith("Omniloop: 31 firing: slow 0, slow 1")
    assert f"… and {32 - MOST_ALERTS} more" in notice.text
    assert notice.text.endswith("key: k")
    assert not notice.is_resolved


def test_a_notice_of_ends_says_so() -> None:
    notice = notice_of("k", {"alerts": [alert(1, "resolved", "critical")]})
    assert (notice.is_resolved, notice.severity) == (True, "info")
    assert notice.title == "Omniloop: resolved: slow 1"


@given(st.text())
def test_a_title_is_one_line(text: str) -> None:
    made = one_line(text)
    assert len(made) <= 160
    assert made == "" or made.isprintable()


@given(st.dictionaries(st.sampled_from(["name", "task", "version"]), st.text(max_size=5)), st.text(max_size=5))
def test_a_matcher_is_read_as_it_is_written_and_its_opposite_is_one(labels: dict[str, str], value: str) -> None:
    for sign in ("=", "!="):
        parsed = parse(f"name{sign}{value}")
        assert parse(written(parsed)) == {**parsed, "value": parsed["value"].strip()}
        opposite = {**parsed, "is_equal": not parsed["is_equal"]}
        assert matches([parsed], labels) != matches([opposite], labels)
