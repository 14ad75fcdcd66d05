"""The service's settings: checked, and a key is never shown."""

import json

import pytest

from db.keys import new_key
from db.repository import keys
from flows.service.running import check_closed
from flows.settings import Settings, SettingsError
from flows.workspace import Workspace


def test_a_key_that_is_too_short_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNI_SERVICE__API_KEY", "hunter2")
    with pytest.raises(SettingsError, match="16 characters or more, got 7") as refused:
        Settings.load()
    assert "hunter2" not in str(refused.value)
    monkeypatch.setenv("OMNI_SERVICE__API_KEY", "0123456789abcdef")
    assert "0123456789abcdef" not in repr(Settings.load())


def test_a_host_that_others_reach_needs_a_key(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNI_SERVICE__HOST", "0.0.0.0")
    open_to_all = ws.with_(settings=Settings.load())
    with pytest.raises(ValueError, match=r"there is no key\. Make one with `omniloop keys create"):
        check_closed(open_to_all)
    _, kept = new_key("app", ("predict",))
    with ws.database.write() as session:
        keys.add_key(session, kept, who="ann", now=ws.clock())
    check_closed(open_to_all)
    with ws.database.write() as session:
        keys.revoke_key(session, "app", who="ann", now=ws.clock())
    with pytest.raises(ValueError, match="there is no key"):
        check_closed(open_to_all)
    monkeypatch.setenv("OMNI_SERVICE__API_KEY", "0123456789abcdef")
    check_closed(ws.with_(settings=Settings.load()))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("QUEUE_ROWS", "0"),
        ("POLL_S", "-1"),
        ("URI_TIMEOUT_S", "0"),
        ("READ_TIMEOUT_S", "0"),
        ("MAX_CONNECTIONS", "0"),
        ("BODY_BYTES", "1"),
    ],
)
def test_values_out_of_range_name_the_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"OMNI_SERVICE__{name}", value)
    with pytest.raises(SettingsError, match=f"Set OMNI_SERVICE__{name}"):
        Settings.load()


@pytest.mark.parametrize(
    "prefix",
    ["", "/srv/", "file:/srv/", "ftp://h/", "https://host", "https://u@h/", "https://h/?a/", "file:///", "file:////"],
)
def test_what_is_no_prefix_of_uris_is_refused(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv("OMNI_SERVICE__URI_PREFIXES", json.dumps([prefix]))
    with pytest.raises(SettingsError, match="Set OMNI_SERVICE__URI_PREFIXES"):
        Settings.load()


def test_prefixes_of_uris_come_as_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNI_SERVICE__URI_PREFIXES", '["https://host/a/", "file:///srv/"]')
    assert Settings.load().service.uri_prefixes == ("https://host/a/", "file:///srv/")


def test_a_check_of_ours_is_told_as_one_sentence_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNI_SERVICE__LOG_SHARE", "7")
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert str(refused.value) == "service.log_share must lie in [0, 1], got 7.0. Set OMNI_SERVICE__LOG_SHARE."


def test_a_list_that_is_none_is_shown_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNI_SERVICE__LOG_OMIT", "image")
    with pytest.raises(SettingsError, match=r"""must be a list.*OMNI_SERVICE__LOG_OMIT='\["image"\]'"""):
        Settings.load()
