"""What `omniloop edge export` writes: a model that is really lighter, measured, complete, and nothing half done."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from db.repository import samples
from flows.cli import app
from flows.edge.bundle import BundleError, read_bundle
from flows.edge.exporting import export
from flows.steps.models import load_version
from flows.steps.stored import load_labelled
from flows.workspace import Workspace
from omni_model.checkpoint import digest, load
from omni_model.distil import visible
from omni_model.evaluate import predict
from omni_model.model import OmniModel
from omni_model.msn.choice import Budget
from omni_model.msn.selector import selector_from
from omni_model.sample import Sample


def val_of(ws: Workspace) -> list[Sample]:
    with ws.database.read() as session:
        return load_labelled(ws, samples.labelled(session, split="val"))


def test_the_light_model_says_what_the_full_one_says_without_the_other_modalities(ws: Workspace, bundle: Path) -> None:
    light, full, rows = load(bundle / "model"), load_version(ws, 1), val_of(ws)
    seen = frozenset({"text", "image"})
    shown = [row for row in rows if seen & row.modalities]
    apart = abs(predict(light, visible(light, shown)).probs - predict(full, visible(light, shown)).probs)
    assert np.max(apart) < 1e-4


def test_a_bundle_says_what_it_is_and_what_it_is_worth(bundle: Path) -> None:
    found = read_bundle(bundle, digest_of=digest)
    assert (found.version, found.modalities, found.schema_version) == (1, ("text", "image"), 1)
    assert len(found.tasks["digit"]) == 10
    light, full = found.measured["light"], found.measured["full"]
    assert light["model_kb"] < 0.8 * full["model_kb"]
    assert 0 < light["accuracy"] <= 1
    assert 0 < light["agreement"] <= 1
    assert light["latency_ms"] > 0
    assert found.measured["num_labelled"] > 0
    assert {path.name for path in bundle.iterdir()} == {"README.md", "bundle.json", "model", "msn.json"}
    assert "audio" not in (bundle / "model" / "model.json").read_text()
    assert "pip install" in (bundle / "README.md").read_text()


def test_the_selector_of_a_bundle_was_measured_on_its_own_model(bundle: Path) -> None:
    selector = selector_from((bundle / "msn.json").read_bytes())
    assert set(selector.table.modalities) == {"text", "image"}
    assert len(selector.choose("digit", frozenset({"text", "image"}), Budget(share=0.0)).subset) == 1


def test_fewer_layers_are_taught_and_the_lesson_is_told(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_version(ws, 1)
    assert isinstance(model, OmniModel)
    monkeypatch.setattr("flows.edge.exporting.load_release", lambda _ws, _release: deeper(model))
    made = export(ws, tmp_path / "out", layers=1, epochs=2, max_rows=60)
    assert made.layers == 1
    taught = made.measured["taught"]
    assert 0 < taught["num_rows"] <= 60
    assert taught["loss_after"] <= taught["loss_before"]
    assert made.measured["light"]["model_kb"] < made.measured["full"]["model_kb"]


def deeper(model: OmniModel) -> OmniModel:
    """The same model with a second layer across modalities, which does a little."""
    made = OmniModel(replace(model.config, layers=2), model.tasks)
    made.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        for name, value in made.named_parameters():
            if name.startswith("layers.across.1."):
                value.mul_(0.1)
    return made.eval()


def test_a_folder_that_holds_something_is_refused(ws: Workspace, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(ValueError, match=r"holds something already.*empty"):
        export(ws, tmp_path)


def test_an_export_that_fails_leaves_no_folder(ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flows.edge.exporting.write_selector", full_disk)
    with pytest.raises(OSError, match="No space"):
        export(ws, tmp_path / "out", modalities=("text",))
    assert not (tmp_path / "out").exists()


def test_a_bundle_of_another_schema_is_refused(bundle: Path, tmp_path: Path) -> None:
    raw = json.loads((bundle / "bundle.json").read_text())
    (tmp_path / "bundle.json").write_text(json.dumps({**raw, "schema_version": 9}))
    with pytest.raises(BundleError, match=r"schema version 9.*Export it anew"):
        read_bundle(tmp_path, digest_of=digest)


def test_the_command_shows_what_the_light_model_is_worth(home: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["edge", "export", "--modalities", "text", "--out", str(tmp_path / "b")])
    assert done.exit_code == 0, done.output
    assert "accuracy" in done.output
    assert "omniloop edge serve" in done.output.replace("\n", " ")
    assert not (tmp_path / "b" / "msn.json").exists()
    assert read_bundle(tmp_path / "b", digest_of=digest).modalities == ("text",)
