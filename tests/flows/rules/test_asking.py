"""What a rule may ask for, a turn that is cut off, and rules replayed over the record."""

from collections.abc import Mapping

import pytest

from db.repository import outbox
from flows.pulse import Pulse
from flows.steps.capturing import keep_baseline
from flows.steps.replaying import replay_rules, since_of
from flows.workspace import Workspace
from monitoring.alerting.reading import parse_rules
from monitoring.alerting.rule import RuleSet
from tests.flows import homes
from tests.flows.rules.turns import RULES, feed, notices, open_alerts, turn


def test_a_rule_may_take_a_version_on_probation_back(
    timed: Workspace, clock: homes.Clock, right: Mapping[str, str]
) -> None:
    keep_baseline(timed)
    homes.run_whole_round(timed, right)
    assert homes.states(timed)[2] == "probation"
    feed(timed, 200, 0.1)
    rules = parse_rules(RULES.replace("action: round", "action: rollback"))
    for _ in range(3):
        turn(timed, rules)
        clock.wait(seconds=60)
    assert homes.states(timed)[2] == "rolled_back"
    assert homes.serving(timed).version == 1
    assert homes.trail(timed, 2)[-1].who == "rule"


def test_the_program_s_own_alerts_are_told_too(timed: Workspace, clock: homes.Clock, rules: RuleSet) -> None:
    def broken() -> None:
        raise OSError("no space left on device")

    Pulse(timed).guarded("deliver", broken)
    turn(timed, rules)
    assert notices(timed) == ["firing"]
    Pulse(timed).guarded("deliver", lambda: None)
    clock.wait(seconds=90)
    turn(timed, rules)
    assert notices(timed) == ["firing", "resolved"]


def test_a_kill_before_the_commit_repeats_the_turn_and_tells_once(
    timed: Workspace, clock: homes.Clock, rules: RuleSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(timed, 200, 0.1)
    turn(timed, rules)
    clock.wait(seconds=60)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("flows.steps.judging.tell", killed)
        with pytest.raises(KeyboardInterrupt):
            turn(timed, rules)
    assert open_alerts(timed) == []
    turn(timed, rules)
    turn(timed, rules)
    assert notices(timed) == ["firing"]
    with timed.database.read() as session:
        assert len(outbox.waiting(session, "notify")) == 1


def test_the_rules_are_replayed_over_the_record_without_moving_anything(
    timed: Workspace, clock: homes.Clock, rules: RuleSet
) -> None:
    feed(timed, 200, 0.1)
    for _ in range(4):
        turn(timed, rules)
        clock.wait(seconds=60)
    before = notices(timed)
    (found,) = replay_rules(timed, rules, since=since_of(timed, 3600))
    assert (found.slice, found.result.num_evaluations, len(found.result.episodes)) == ("all", 4, 1)
    gentle = parse_rules(RULES.replace("limit: 0.1", "limit: 0.95"))
    assert replay_rules(timed, gentle, since=since_of(timed, 3600))[0].result.episodes == ()
    assert notices(timed) == before
