"""The data contract as documented is the one that is read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from omni_model.data.codecs import CODECS
from omni_model.data.fields import FIELDS
from omni_model.data.manifest import ManifestRow, read_manifest
from omni_model.data.rows import validate_row
from omni_model.data.splits import split_digest
from omni_model.data.tri_digits import NUM_ITEMS, item_name
from omni_model.sample import load_task

DOCS = Path(__file__).resolve().parents[3] / "docs"
MANUAL = (DOCS / "data.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", MANUAL, flags=re.DOTALL)


def test_the_examples_of_the_manual_are_read(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    (tmp_path / "m.jsonl").write_text(blocks("jsonl")[0], encoding="utf-8")
    task = load_task(tmp_path / "task.yaml")
    rows = list(read_manifest(tmp_path / "m.jsonl"))
    assert len(rows) == 3
    for row in rows:
        assert isinstance(row, ManifestRow), row
        validate_row(row, {task.name: task})


def test_the_code_of_the_manual_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CODECS:
        monkeypatch.setitem(CODECS, name, CODECS[name])
    codec, reading = blocks("python")
    exec(compile(codec, "data.md", "exec"), {"__name__": "__main__"})
    assert CODECS.pop("depth").decode(CODECS["sensor"].encode(CODECS["sensor"].decode(b"1,2\n"))) is not None
    found: dict[str, object] = {"folder": str(tmp_path)}
    exec(compile(reading, "data.md", "exec"), found)
    assert found["sample"]


def test_the_schema_names_the_columns_and_limits_that_are_checked() -> None:
    schema = json.loads((DOCS / "manifest.schema.json").read_text(encoding="utf-8"))
    properties = schema["properties"]
    assert set(properties) == {*FIELDS, "time", *CODECS}
    assert {name: properties[name]["maxLength"] for name in FIELDS} == FIELDS


def test_the_manual_names_every_modality_and_the_digest_of_the_split() -> None:
    for modality in CODECS:
        assert f"`{modality}`" in MANUAL
    assert split_digest(item_name(index) for index in range(NUM_ITEMS)) in MANUAL
