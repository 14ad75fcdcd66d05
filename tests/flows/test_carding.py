"""The model card: made by the round that makes the version, kept with it, and made again on request."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from db.errors import NotFound
from db.records.artefacts import CARD
from db.repository import artefacts
from flows.cli.models import app
from flows.errors import RegistryError
from flows.steps.carding import FILE, card_of, make_card
from flows.steps.models import load_version
from flows.workspace import Workspace
from tests.flows import homes

SECTIONS = (
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Training",
    "Quantitative analyses",
    "Gate",
    "Limits",
)


def kept(ws: Workspace, version: int) -> list[str]:
    with ws.database.read() as session:
        return [each.digest for each in artefacts.list_artefacts(session, version) if each.kind == CARD]


def test_a_round_makes_the_card_of_its_version_with_the_gate_s_evidence(
    ws: Workspace, right: Mapping[str, str]
) -> None:
    report = homes.run_whole_round(ws, right)
    assert report.decision is not None
    card = card_of(ws, 2)
    assert card is not None
    assert [line[3:] for line in card.splitlines() if line.startswith("## ")] == list(SECTIONS)
    assert f"Verdict: **{report.decision.verdict}**" in card
    assert report.decision.reasons[0] in card
    assert f"| version | v2, {homes.states(ws)[2].replace('_', ' ')}, tuned from v1 |" in card
    assert "v2 ← v1" in card
    assert f"| chosen by score and labelled | {9} |" in card
    for row in ("| en | ", "| es | ", "| audio+image+text | ", "| accuracy | without=audio | "):
        assert row in card
    (artefact,) = kept(ws, 2)
    with ws.database.read() as session:
        found = artefacts.newest(session, 2, CARD)
    assert found is not None
    assert found.digest == artefact
    assert set(found.detail["by_domain"]) == {"en", "es"}
    stored = list((ws.home / "mlartifacts").rglob(FILE))
    assert card in [path.read_text() for path in stored]


def test_the_first_version_has_a_card_that_names_nothing_it_was_compared_with(ws: Workspace) -> None:
    card = card_of(ws, 1)
    assert card is not None
    assert "trained from scratch" in card
    assert "- It was compared with no earlier version." in card
    parameters = sum(parameter.numel() for parameter in load_version(ws, 1).parameters())
    assert f"| parameters | {parameters:,} |" in card


def test_the_command_shows_the_card_and_makes_it_anew_when_asked(ws: Workspace) -> None:
    before = card_of(ws, 1)
    shown = CliRunner().invoke(app, ["card", "1"])
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.strip() == (before or "").strip()
    assert len(kept(ws, 1)) == 1
    again = CliRunner().invoke(app, ["card", "1", "--again"])
    assert again.exit_code == 0, again.output
    assert len(kept(ws, 1)) == 2
    assert again.stdout.splitlines()[0] == shown.stdout.splitlines()[0]


def test_a_card_is_kept_although_mlflow_fails(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(run_id: str, path: Path, folder: str) -> None:
        raise RegistryError("MLflow failed. Check that the store is up.")

    monkeypatch.setattr(ws.registry, "log_file", fail)
    make_card(ws, 1)
    assert len(kept(ws, 1)) == 2


def test_a_card_that_cannot_be_made_does_not_undo_the_decision(
    ws: Workspace, right: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(ws: Workspace, version: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("flows.steps.rounds.make_card", fail)
    report = homes.run_whole_round(ws, right)
    assert report.round.step == "closed"
    assert homes.serving(ws).version == 2
    assert card_of(ws, 2) is None
    monkeypatch.undo()


def test_a_version_that_is_not_there_has_no_card(ws: Workspace) -> None:
    with pytest.raises(NotFound, match="no version 9"):
        make_card(ws, 9)
