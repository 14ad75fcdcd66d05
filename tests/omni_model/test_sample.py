from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from omni_model.sample import Sample, TaskSpec, dump_task, load_task

TASK = TaskSpec(name="digit", instructions=("Which digit?", "Wie viel?"), answers=("0", "1", "no"))


def test_item_and_domain_default_to_id_and_source() -> None:
    sample = Sample(id="a", task="digit", instruction="?", inputs={"text": "two"}, source="camera")
    assert (sample.item, sample.domain) == ("a", "camera")
    assert sample.modalities == frozenset({"text"})


def test_a_sample_without_id_is_refused() -> None:
    with pytest.raises(ValueError, match="id is empty"):
        Sample(id="", task="digit", instruction="?", inputs={})


@pytest.mark.parametrize("time", [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))])
def test_a_time_that_is_not_utc_is_refused(time: datetime) -> None:
    with pytest.raises(ValueError, match="must be in UTC"):
        Sample(id="a", task="digit", instruction="?", inputs={}, time=time)
    Sample(id="a", task="digit", instruction="?", inputs={}, time=datetime(2026, 1, 1, tzinfo=UTC))


def test_a_task_spec_reads_back_as_it_was_written(tmp_path: Path) -> None:
    dump_task(TASK, tmp_path / "digit.yaml")
    assert load_task(tmp_path / "digit.yaml") == TASK


def test_one_instruction_may_be_given_without_a_list(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("name: t\ninstructions: What is it?\nanswers: ['yes', 'no']\n")
    assert load_task(tmp_path / "t.yaml").instructions == ("What is it?",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: t\ninstructions: [a]\nanswers: [yes, no]\n", r"answers\[0\] must be text, got True. Put it in quotes"),
        ("name: 7\ninstructions: [a]\nanswers: [a, b]\n", "name must be text, got 7"),
        ("name: t\ninstructions: [a]\nanswers: [a]\n", "at least two"),
        ("name: t\ninstructions: [a]\nanswers: [a, b, a]\n", r"got \['a'\] more than once"),
        ("name: t\ninstructions: []\nanswers: [a, b]\n", "at least one non-empty text"),
        ("name: t\nanswers: [a, b]\n", "instructions must be a list of texts, got None"),
        ("name: ''\ninstructions: [a]\nanswers: [a, b]\n", "non-empty word"),
        ("name: t\ninstructions: [a]\nanswers: [a, b]\nlabels: []\n", r"unknown keys \['labels'\]"),
        ("- a\n", "must hold a mapping"),
        ("name: [\n", "no readable YAML"),
        ("!!python/object/apply:os.system ['true']", "no readable YAML"),
    ],
)
def test_a_broken_task_spec_names_its_file_and_the_mend(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason) as caught:
        load_task(path)
    assert str(path) in str(caught.value)


def test_a_task_spec_that_is_missing_or_not_utf8_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No task spec"):
        load_task(tmp_path / "no.yaml")
    (tmp_path / "t.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(ValueError, match="UTF-8"):
        load_task(tmp_path / "t.yaml")
