"""Another architecture: searched for, proposed, trained as a round's candidate, and judged by the same gate."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from db.records.artefacts import ARCHITECTURE
from db.repository import artefacts, releases, rounds
from flows.cli import app
from flows.errors import NothingInService
from flows.reporter import SILENT
from flows.settings import Settings
from flows.steps.evolving import keep, neighbours, parent_of, search
from flows.steps.models import load_version
from flows.steps.requesting import EVOLVE
from flows.steps.rounds import run_round
from flows.workspace import Workspace, open_workspace
from omni_model.config import ModelConfig
from omni_model.evolve import Worth, changes, propose
from omni_model.model import OmniModel
from tests.flows import homes


@pytest.fixture(autouse=True)
def _short(small: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search of a second, in which any architecture that learns at all is better by enough."""
    chosen = {"TRIALS": "4", "EPOCHS": "1", "LATENCY_SHARE": "9", "MIN_GAIN": "0", "LATENCY_ROWS": "1"}
    monkeypatch.setenv("OMNI_TRAIN__EPOCHS", "2")
    for name, value in chosen.items():
        monkeypatch.setenv(f"OMNI_EVOLVE__{name}", value)


def propose_two_layers(ws: Workspace) -> ModelConfig:
    """A proposal as a search would leave it."""
    release, parent = parent_of(ws)
    config = replace(parent.config, layers=2, links={"1.image>audio": 0.0})
    worth = Worth(loss=0.1, accuracy=0.9, latency_share=1.0, samples_seen=1, parameters=1)
    keep(ws, release, parent.config, config, worth, worth)
    return config


def proposals(ws: Workspace) -> list[str]:
    with ws.database.read() as session:
        return [each.digest for each in artefacts.list_artefacts(session, 1) if each.kind == ARCHITECTURE]


def test_what_a_search_proposes_goes_through_the_gate_and_later_rounds_go_on_from_it(
    ws: Workspace, right: dict[str, str]
) -> None:
    proposed = propose_two_layers(ws)
    assert homes.serving(ws).version == 1
    report = run_round(ws, EVOLVE)
    assert report.decision is not None
    assert report.decision.verdict in ("accept", "reject", "inconclusive")
    assert report.round.outputs["validated"]["comparisons"] is not None
    made, before = load_version(ws, 2), load_version(ws, 1)
    assert isinstance(made, OmniModel)
    assert isinstance(before, OmniModel)
    assert made.config == proposed
    assert changes(before.config, made.config) == {"layers": 2, "links": proposed.links}
    with ws.database.read() as session:
        roles = rounds.count_round_samples(session, report.round.id)
    assert roles == {"base": homes.SIZES["train"]}
    with ws.database.write() as session:
        if homes.states(ws)[2] == "awaiting_approval":
            releases.promote(session, 2, who="ann", why="a test", numbers={}, probation=True, now=ws.clock())
        releases.accept(session, 2, who="ann", why="a test", now=ws.clock())
    homes.run_whole_round(ws, right)
    assert load_version(ws, 3).describe() == made.describe()


def test_a_search_proposes_what_was_better_after_as_long_a_tuning_and_nothing_else(ws: Workspace) -> None:
    found = search(ws)
    assert found.num_tried + found.num_too_slow == ws.settings.evolve.trials
    assert found.best.loss <= found.present.loss
    assert (found.proposal is None) == (found.best.loss == found.present.loss)
    assert proposals(ws) == ([] if found.proposal is None else [found.proposal.digest])


def test_a_search_that_finds_nothing_better_proposes_nothing(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    far = ws.with_(settings=ws.settings.model_copy(update={"evolve": replace(ws.settings.evolve, min_gain=1.0)}))
    assert search(far).proposal is None
    assert proposals(ws) == []


def test_architectures_that_are_too_slow_are_never_trained(ws: Workspace) -> None:
    evolve = replace(ws.settings.evolve, latency_share=1e-6)
    found = search(ws.with_(settings=ws.settings.model_copy(update={"evolve": evolve})))
    assert (found.num_tried, found.num_too_slow > 0, found.proposal) == (1, True, None)


def test_a_round_without_a_proposal_ends_and_leaves_the_loop_free(ws: Workspace, right: dict[str, str]) -> None:
    report = run_round(ws, EVOLVE)
    assert (report.round.step, report.round.outcome) == ("closed", "nothing_to_train")
    assert homes.run_whole_round(ws, right).decision is not None


def test_without_a_version_there_is_nothing_to_go_out_from(small: object) -> None:
    ws = open_workspace(Settings.load(), SILENT)
    with pytest.raises(NothingInService, match="omniloop train"):
        search(ws)
    ws.database.close()


@pytest.mark.slow
def test_the_command_searches_and_says_what_came_of_it(ws: Workspace) -> None:
    done = CliRunner().invoke(app, ["evolve"])
    assert done.exit_code == 0, done.output
    assert "architectures around v1" in done.output
    assert homes.history(ws)[-1].version == (2 if proposals(ws) else 1)


def test_the_first_trials_change_the_present_architecture_in_one_place() -> None:
    present = ModelConfig()

    def built(picks: dict[str, object]) -> Iterator[ModelConfig]:
        yield propose(lambda name, choices: picks[name], present)  # type: ignore[arg-type]

    for picks in neighbours(present, 0):
        for config in built(picks):
            differs = set(changes(present, config)) - {"links"}
            assert len(differs) + len(config.links) == 1
