"""The life of an alert under a clock of our own: fires after its time, ends once, and no data is never ok."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alerting.machine import (
    EXPIRED,
    FIRED,
    FIRING,
    INACTIVE,
    MISSING,
    PENDING,
    RESOLVED,
    STATES,
    AlertState,
    Policy,
    fresh,
    step,
)

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
STATUSES = st.sampled_from(["ok", "breach", "no_data"])
MINUTES = st.integers(min_value=-600, max_value=600)
WALK = st.lists(st.tuples(STATUSES, MINUTES), max_size=30)
POLICIES = st.builds(
    Policy,
    for_s=st.sampled_from([0.0, 60.0, 600.0]),
    keep_firing_s=st.sampled_from([0.0, 300.0]),
    max_gap_s=st.sampled_from([120.0, 1e6]),
    forget_s=st.sampled_from([600.0, 86400.0]),
    alerts_without_data=st.booleans(),
)


def walk(policy: Policy, *found: str, every_s: float = 60.0) -> list[AlertState]:
    """States after findings at even distances."""
    states, now = [fresh(START)], START
    for status in found:
        states.append(step(states[-1], status, policy, now))
        now += timedelta(seconds=every_s)
    return states[1:]


def words(states: list[AlertState]) -> list[str]:
    return [state.state for state in states]


def test_a_breach_fires_only_after_its_time() -> None:
    states = walk(Policy(for_s=120), "breach", "breach", "breach", "breach")
    assert words(states) == [PENDING, PENDING, FIRING, FIRING]
    assert [state.event for state in states] == ["", "", FIRED, ""]


def test_a_breach_that_ends_in_time_never_fires() -> None:
    assert words(walk(Policy(for_s=120), "breach", "breach", "ok", "breach")) == [PENDING, PENDING, INACTIVE, PENDING]


def test_it_ends_once() -> None:
    states = walk(Policy(), "breach", "ok", "ok")
    assert [state.event for state in states] == [FIRED, RESOLVED, ""]


def test_it_keeps_firing_so_that_a_value_at_the_bound_does_not_flap() -> None:
    states = walk(Policy(keep_firing_s=150), "breach", "ok", "breach", "ok", "ok", "ok")
    assert [state.event for state in states] == [FIRED, "", "", "", "", RESOLVED]
    assert states[3].kept_until(Policy(keep_firing_s=150)) == START + timedelta(seconds=120 + 150)


def test_no_data_is_a_state_and_ends_nothing() -> None:
    assert words(walk(Policy(), "no_data", "ok", "no_data")) == [MISSING, INACTIVE, MISSING]
    assert words(walk(Policy(), "breach", "no_data", "no_data", "breach")) == [FIRING] * 4


def test_an_alert_whose_slice_is_seen_no_more_is_given_up() -> None:
    states = walk(Policy(forget_s=120), "breach", "no_data", "no_data", "no_data", "no_data")
    assert [state.event for state in states] == [FIRED, "", "", EXPIRED, ""]
    assert states[-1].state == MISSING


def test_missing_data_fires_where_the_rule_says_so() -> None:
    states = walk(Policy(for_s=60, alerts_without_data=True), "no_data", "no_data", "ok")
    assert [state.event for state in states] == ["", FIRED, RESOLVED]


def test_a_clock_moved_back_neither_fires_early_nor_keeps_it_from_firing() -> None:
    policy = Policy(for_s=120)
    first = step(fresh(START), "breach", policy, START)
    second = step(first, "breach", policy, START + timedelta(seconds=60))
    moved = step(second, "breach", policy, START - timedelta(days=365))
    assert moved.state == PENDING
    assert step(moved, "breach", policy, START - timedelta(days=365) + timedelta(seconds=60)).state == FIRING


def test_what_nobody_watched_counts_for_nothing() -> None:
    policy = Policy(for_s=120, max_gap_s=300)
    first = step(fresh(START), "breach", policy, START)
    assert step(first, "breach", policy, START + timedelta(hours=3)).state == PENDING


def test_an_unknown_finding_is_refused() -> None:
    with pytest.raises(ValueError, match="status must be"):
        step(fresh(START), "fine", Policy(), START)


@given(policy=POLICIES, found=WALK)
def test_on_every_walk_events_and_states_agree(policy: Policy, found: list[tuple[str, int]]) -> None:
    state, now = fresh(START), START
    for status, minutes in found:
        now += timedelta(minutes=minutes)
        before, state = state, step(state, status, policy, now)
        assert state.state in STATES
        assert (state.event == FIRED) == (before.state != FIRING and state.state == FIRING)
        assert (state.event in (RESOLVED, EXPIRED)) == (before.state == FIRING and state.state != FIRING)
        assert state.at == now
        if state.event == RESOLVED:
            assert status == "ok"
        if status == "no_data":
            assert state.state != INACTIVE
        assert AlertState.from_json(state.to_json()) == AlertState(**{**vars(state), "event": ""})


@given(found=st.lists(STATUSES, min_size=2, max_size=20), back=st.integers(min_value=1, max_value=10**6))
def test_a_clock_moved_back_gives_the_states_of_one_that_stood_still(found: list[str], back: int) -> None:
    policy, jump = Policy(for_s=120, keep_firing_s=120, max_gap_s=1e9), len(found) // 2
    plain, moved = fresh(START), fresh(START)
    for at, status in enumerate(found):
        seconds = 60 * (at if at < jump else at - 1)  # between the two looks around the jump no time passed
        plain = step(plain, status, policy, START + timedelta(seconds=seconds))
        shift = timedelta(minutes=back) if at >= jump else timedelta(0)
        moved = step(moved, status, policy, START + timedelta(seconds=seconds) - shift)
        assert (moved.state, moved.event) == (plain.state, plain.event)
