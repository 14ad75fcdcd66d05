"""The service's settings: checked, and a key is never shown."""

import pytest

from flows.settings import Settings, SettingsError


def test_a_key_that_is_too_short_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNI_SERVICE__API_KEY", "hunter2")
    with pytest.raises(SettingsError, match="16 characters or more, got 7") as refused:
        Settings.load()
    assert "hunter2" not in str(refused.value)
    monkeypatch.setenv("OMNI_SERVICE__API_KEY", "0123456789abcdef")
    assert "0123456789abcdef" not in repr(Settings.load())


def test_a_host_that_others_reach_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNI_SERVICE__HOST", "0.0.0.0")
    with pytest.raises(SettingsError, match="Set OMNI_SERVICE__API_KEY"):
        Settings.load()
    monkeypatch.setenv("OMNI_SERVICE__API_KEY", "0123456789abcdef")
    assert Settings.load().service.host == "0.0.0.0"


@pytest.mark.parametrize(("name", "value"), [("PORT", "70000"), ("QUEUE_ROWS", "0"), ("POLL_S", "-1")])
def test_values_out_of_range_name_the_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"OMNI_SERVICE__{name}", value)
    with pytest.raises(SettingsError, match=f"Set OMNI_SERVICE__{name}"):
        Settings.load()
