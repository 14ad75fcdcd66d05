"""What a round learns from: never the test split, never what is in quarantine, every new label once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from db.repository import releases, rounds, samples
from db.rounds import BATCH
from flows.errors import FrozenPartMoved
from flows.reporter import SILENT
from flows.settings import Settings
from flows.steps import selecting, tuning, validating
from flows.steps.ingesting import add_task, ingest
from flows.steps.models import load_version
from flows.steps.reconciling import reconcile
from flows.steps.registering import register
from flows.steps.rounds import run_round
from flows.steps.stored import load_labelled
from flows.workspace import Workspace, open_workspace
from omni_model import acquisition, elastic, train
from omni_model.data import tri_digits
from omni_model.data.writing import write_manifest
from omni_model.errors import FrozenLayersMoved
from omni_model.evaluate import predict
from omni_model.sample import Sample, TaskSpec
from tests.flows import homes
from tests.flows.homes import label_waiting, run_whole_round, states


@dataclass
class Seen:
    """Ids of the samples that came to each use."""

    trained: set[str] = field(default_factory=set)
    beside: set[str] = field(default_factory=set)
    """Learnt from without a label."""
    replayed: set[str] = field(default_factory=set)
    validated: set[str] = field(default_factory=set)
    selected_from: set[str] = field(default_factory=set)

    @property
    def all(self) -> set[str]:
        return self.trained | self.beside | self.replayed | self.validated | self.selected_from


@contextmanager
def watching() -> Iterator[Seen]:
    """Note what reaches training, selection and validation, and let them do their work."""
    seen = Seen()
    real_fit, real_tune, real_select, real_outcomes = train.fit, elastic.tune, acquisition.select, validating.outcomes

    def fit(model: Any, rows: Sequence[Sample], val: Sequence[Sample], *args: Any, **kwargs: Any) -> Any:
        seen.trained |= {row.id for row in rows}
        seen.validated |= {row.id for row in val}
        return real_fit(model, rows, val, *args, **kwargs)

    def tune(model: Any, new: Any, replay: Any, val: Any, *args: Any, **kwargs: Any) -> Any:
        known = [answer is not None for answer in new.answers]
        seen.trained |= {id_ for id_, is_known in zip(new.ids, known, strict=True) if is_known}
        seen.beside |= {id_ for id_, is_known in zip(new.ids, known, strict=True) if not is_known}
        seen.replayed |= set(replay.ids)
        seen.validated |= set(val.ids)
        return real_tune(model, new, replay, val, *args, **kwargs)

    def select(batches: Any, *args: Any, **kwargs: Any) -> Any:
        def noted() -> Iterator[Any]:
            for batch in batches:
                seen.selected_from |= set(batch.ids.tolist())
                yield batch

        return real_select(noted(), *args, **kwargs)

    def outcomes(ws: Any, old: Any, new: Any, loaded: list[Sample], *args: Any) -> Any:
        seen.validated |= {row.id for row in loaded}
        return real_outcomes(ws, old, new, loaded, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "fit", fit)
        patch.setattr(tuning, "tune", tune)
        patch.setattr(selecting, "select", select)
        patch.setattr(validating, "outcomes", outcomes)
        yield seen


# -- the test split ---------------------------------------------------------------------------------------------------


def test_the_test_split_is_never_trained_selected_or_validated_on(
    small: Path, labelled: list[Sample], arriving: list[Sample], right: dict[str, str]
) -> None:
    ws = open_workspace(Settings.load(), SILENT)
    with watching() as seen:
        homes.build(ws.home, labelled, arriving)
        tested = {row.id for row in homes.of_split(ws, "test")}
        homes.label(ws, [row for row in arriving if row.id in tested], right)
        run_whole_round(ws, right)
    splits = {name: {row.id for row in homes.of_split(ws, name)} for name in ("train", "val", "test")}
    assert len(splits["test"]) == 2 * homes.SIZES["test"]
    assert not seen.all & splits["test"]
    assert seen.trained | seen.beside | seen.replayed | seen.selected_from <= splits["train"]
    assert seen.validated <= splits["val"]
    with ws.database.read() as session:
        members = {row.sample_id for id_ in (1, 2) for row in rounds.round_samples(session, id_)}
    assert members
    assert not members & splits["test"]
    ws.database.close()


def test_what_was_trained_on_is_what_the_round_remembers(ws: Workspace, right: dict[str, str]) -> None:
    with watching() as seen:
        run_whole_round(ws, right)
    with ws.database.read() as session:
        new = {row.sample_id for row in rounds.round_samples(session, 2, *BATCH)}
        replayed = {row.sample_id for row in rounds.round_samples(session, 2, "replay")}
        base = {row.sample_id for row in rounds.round_samples(session, 1, "base")}
        asked_for_validation = {row.sample_id for row in rounds.round_samples(session, 2, "validation")}
        beside = {row.sample_id for row in rounds.round_samples(session, 2, "unlabelled")}
    assert beside
    assert (seen.trained, seen.replayed, seen.beside) == (new, replayed, beside)
    assert replayed == base
    assert asked_for_validation <= seen.validated
    assert not seen.validated & (new | replayed)


# -- quarantine -------------------------------------------------------------------------------------------------------


def test_labels_of_a_rejected_round_are_not_learnt_until_a_person_lifts_the_quarantine(
    ws: Workspace, right: dict[str, str], arriving: list[Sample]
) -> None:
    """Those that the round asked for, and those that had come by themselves and that it learnt."""
    uncalled = [row for row in arriving if row.id in {stored.id for stored in homes.of_split(ws, "train")}][:6]
    homes.label(ws, uncalled, right)
    with watching() as first:
        run_whole_round(manual(ws), right)
    assert {row.id for row in uncalled} <= first.trained
    with ws.database.write() as session:
        releases.reject(session, 2, who="ann", why="no", now=ws.clock())
    with watching() as second:
        run_whole_round(ws, right)
    assert states(ws)[3] == "probation"
    assert second.trained
    assert not second.all & first.trained
    with ws.database.write() as session:
        releases.accept(session, 3, who="ann", why="fine", now=ws.clock())
        rounds.lift_quarantine(session, 2, who="ann", why="it was the learning rate", now=ws.clock())
    with watching() as third:
        run_whole_round(ws, right)
    assert first.trained <= third.trained


def test_a_candidate_that_learnt_labels_which_were_quarantined_meanwhile_waits_for_a_person(
    betrayed: Path, small: Path, right: dict[str, str]
) -> None:
    """Round 3 begins while v2 is on probation and learns v2's labels too; then they turn out to be wrong."""
    homes.copy(betrayed, small)
    ws = open_workspace(Settings.load(), SILENT)
    live = homes.answers_of(tri_digits.live("es", homes.NUM_LIVE, seed=1))
    run_round(ws, "manual")
    label_waiting(ws, {**right, **live})
    with homes.stopping_at("validate.committed"):
        run_round(ws, "resume")
    with ws.database.write() as session:
        releases.rollback(session, 2, who="ann", why="a complaint", now=ws.clock())
    run_round(ws, "resume")
    assert states(ws) == {1: "accepted", 2: "rolled_back", 3: "awaiting_approval"}
    assert "learnt 70 labels that have been quarantined since" in homes.trail(ws, 3)[-1].why
    assert homes.serving(ws).version == 1
    ws.database.close()


# -- what stays as it is ----------------------------------------------------------------------------------------------


def test_a_frozen_layer_that_moves_in_tuning_stops_the_round_before_there_is_a_version(
    ws: Workspace, right: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_round(ws, "drift")
    label_waiting(ws, right)
    real = elastic.tune

    def slipping(model: Any, *args: Any, on_epoch: Any, **kwargs: Any) -> Any:
        def after(stats: Any) -> None:
            with torch.no_grad():
                next(model.encoders.parameters()).add_(1e-3)
            on_epoch(stats)

        return real(model, *args, on_epoch=after, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "tune", slipping)
        with pytest.raises(FrozenLayersMoved, match="encoders"):
            run_round(ws, "resume")
    assert states(ws) == {1: "accepted"}
    assert homes.open_round(ws).step == "labelled"
    assert run_round(ws, "resume").decision is not None


def test_a_model_whose_frozen_part_has_another_digest_is_not_registered(ws: Workspace, right: dict[str, str]) -> None:
    run_round(ws, "drift")
    label_waiting(ws, right)
    with homes.stopping_at("tune.committed"):
        run_round(ws, "resume")
    round_ = homes.open_round(ws)
    fit = {**round_.outputs["tuned"]["fit"], "frozen_digest_after": "0" * 32}
    moved = replace(round_, outputs={**round_.outputs, "tuned": {**round_.outputs["tuned"], "fit": fit}})
    with pytest.raises(FrozenPartMoved, match="not registered"):
        register(ws, moved)
    assert states(ws) == {1: "accepted"}
    assert reconcile(ws).aliases["challenger"] is None


# -- what comes later -------------------------------------------------------------------------------------------------

PARITY = TaskSpec(name="parity", instructions=("Is the digit odd or even?",), answers=("even", "odd"))


def as_parity(row: Sample) -> Sample:
    """The same media under another question."""
    answer = None if row.answer is None else PARITY.answers[int(row.answer) % 2]
    return replace(row, id=f"parity-{row.id}", task=PARITY.name, instruction=PARITY.instructions[0], answer=answer)


def test_a_task_that_comes_later_is_learnt_without_a_new_base(
    ws: Workspace, labelled: list[Sample], right: dict[str, str], tmp_path: Path
) -> None:
    add_task(ws, PARITY)
    rows = [as_parity(row) for row in labelled]
    ingest(ws, write_manifest([replace(row, answer=None) for row in rows[:5]], tmp_path / "unlabelled"))
    ingest(ws, write_manifest(rows[5:], tmp_path / "labelled"))
    answers = {**right, **{row.id: row.answer for row in rows if row.answer is not None}}
    report = run_whole_round(ws, answers, "new_labels")
    assert report.decision is not None, report
    assert report.decision.verdict == "accept", report.decision.reasons
    model = load_version(ws, 2)
    assert [task.name for task in model.tasks] == ["digit", "parity"]
    with ws.database.read() as session:
        val = samples.labelled(session, split="val", task="parity")
    said = predict(model, load_labelled(ws, val))
    assert {said.answers[int(answer)] for answer in said.answer} <= set(PARITY.answers)
    assert said.accuracy > 0.6


def test_an_answer_that_comes_later_is_learnt(ws: Workspace, arriving: list[Sample], right: dict[str, str]) -> None:
    wider = replace(homes.TASK, answers=(*homes.TASK.answers, "none"))
    add_task(ws, wider)
    ids = {row.id for row in homes.of_split(ws, "train")}
    homes.label(ws, [row for row in arriving if row.id in ids][:20], {id_: "none" for id_ in ids})
    report = run_whole_round(ws, right)
    assert report.decision is not None
    assert load_version(ws, 2).tasks == (wider,)


def manual(ws: Workspace) -> Workspace:
    """The same workspace with a person who approves."""
    loop = replace(ws.settings.loop, promotion="manual")
    return ws.with_(settings=ws.settings.model_copy(update={"loop": loop}))
