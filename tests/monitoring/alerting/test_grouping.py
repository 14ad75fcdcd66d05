"""Notices after Alertmanager's conventions: waited for, grouped, repeated, ended once; hidden alerts are not told."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerting.grouping import Due, Member, Told, due, group_key, notice_key
from monitoring.alerting.hiding import is_inhibited, is_silenced
from monitoring.alerting.rule import Inhibition, Routing

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROUTING = Routing(group_wait_s=30, group_interval_s=300, repeat_interval_s=3600)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def fires(*names: str, since: float = 0.0, is_hidden: bool = False, is_acknowledged: bool = False) -> list[Member]:
    return [
        Member(fingerprint=name, fired_at=at(since), is_hidden=is_hidden, is_acknowledged=is_acknowledged)
        for name in names
    ]


def told(*names: str, seconds: float = 30.0) -> Told:
    return Told(firing=frozenset(names), at=at(seconds), key="k")


def test_a_group_waits_for_others_to_join() -> None:
    assert due(fires("a"), None, ROUTING, at(29)) is None
    found = due([*fires("a"), *fires("b", since=20)], None, ROUTING, at(30))
    assert found == Due(reason="firing", firing=("a", "b"), resolved=())


def test_one_that_joins_later_is_told_after_the_interval() -> None:
    members = [*fires("a"), *fires("b", since=60)]
    assert due(members, told("a"), ROUTING, at(329)) is None
    assert due(members, told("a"), ROUTING, at(330)) == Due(reason="firing", firing=("a", "b"), resolved=())


def test_what_was_told_is_repeated_and_what_is_acknowledged_is_not() -> None:
    assert due(fires("a"), told("a"), ROUTING, at(3629)) is None
    assert due(fires("a"), told("a"), ROUTING, at(3630)) == Due(reason="repeat", firing=("a",), resolved=())
    assert due(fires("a", is_acknowledged=True), told("a"), ROUTING, at(9999)) is None


def test_an_end_is_told_once_and_with_what_still_fires() -> None:
    assert due(fires("b"), told("a", "b"), ROUTING, at(330)) == Due(reason="resolved", firing=("b",), resolved=("a",))
    assert due([], told("a"), ROUTING, at(330)) == Due(reason="resolved", firing=(), resolved=("a",))
    assert due([], told(), ROUTING, at(99999)) is None


def test_what_ended_before_it_was_told_is_never_told() -> None:
    assert due([], None, ROUTING, at(60)) is None


def test_hidden_alerts_are_neither_told_nor_said_to_have_ended() -> None:
    assert due(fires("a", is_hidden=True), None, ROUTING, at(9999)) is None
    assert due(fires("a", is_hidden=True), told("a"), ROUTING, at(9999)) is None


def test_a_notice_from_the_future_does_not_silence_a_group_for_ever() -> None:
    future = told("a", seconds=10**7)
    assert due(fires("a"), future, ROUTING, at(0)) == Due(reason="repeat", firing=("a",), resolved=())


@given(st.permutations(["a", "b", "c"]))
def test_the_order_of_alerts_changes_nothing(names: list[str]) -> None:
    found = due(fires(*names), None, ROUTING, at(30))
    assert found is not None
    assert notice_key("g", "log", found, None) == notice_key(
        "g", "log", Due(reason="firing", firing=("a", "b", "c"), resolved=()), None
    )


def test_a_repeat_has_a_key_of_its_own() -> None:
    found = Due(reason="repeat", firing=("a",), resolved=())
    assert notice_key("g", "log", found, told("a")) != notice_key("g", "log", found, None)
    assert notice_key("g", "log", found, told("a")) != notice_key("g", "mail", found, told("a"))


def test_groups_are_by_labels() -> None:
    assert group_key({"name": "x", "domain": "ru"}, ("name", "domain")) == "name=x,domain=ru"
    assert group_key({}, ()) == "all"


def test_a_silence_needs_all_its_matchers_and_one_without_any_hides_nothing() -> None:
    labels = {"name": "latency high", "domain": "ru"}
    by_name, by_domain = {"label": "name", "value": "latency.*", "is_regex": True}, {"label": "domain", "value": "en"}
    assert is_silenced(labels, [[by_name]])
    assert not is_silenced(labels, [[by_name, by_domain]])
    assert not is_silenced(labels, [[]])
    assert not is_silenced(labels, [[{"label": "name", "value": "(", "is_regex": True}]])


def test_an_alert_does_not_inhibit_itself_and_labels_must_agree() -> None:
    rule = Inhibition(source={"name": "down*"}, target={"name": "*"}, equal=("host",))
    assert is_inhibited({"name": "slow", "host": "a"}, [{"name": "down", "host": "a"}], [rule])
    assert not is_inhibited({"name": "slow", "host": "a"}, [{"name": "down", "host": "b"}], [rule])
    assert not is_inhibited({"name": "down", "host": "a"}, [{"name": "down2", "host": "a"}], [rule])
