from __future__ import annotations

import importlib.util
import os
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omni_model.data import building, debian, easy_vqa, tux_paint
from omni_model.data.building import MissingExtraError, Record, read_record
from omni_model.data.debian import PackageError
from omni_model.data.manifest import ManifestRow, read_manifest
from omni_model.data.refs import read_ref
from omni_model.data.rows import decode_sample
from omni_model.sample import Sample, load_task
from tests.omni_model.data.media import noise_picture, picture_bytes, sound_bytes, tone

needs_extra = pytest.mark.skipif(
    not (importlib.util.find_spec("easy_vqa") and importlib.util.find_spec("resvg_py")),
    reason="the extra is not installed; run `pip install 'omniloop[benchmarks]'`",
)
SVG = (
    "<svg xmlns='http://www.w3.org/2000/svg' width='300' height='200'><rect width='300' height='200' fill='red'/></svg>"
)


def samples_of(manifest: Path, task_file: str) -> list[Sample]:
    task = load_task(manifest.parent / "tasks" / task_file)
    samples = []
    for row in read_manifest(manifest):
        assert isinstance(row, ManifestRow), row
        content = {name: read_ref(ref, base=manifest.parent) for name, ref in row.inputs.items()}
        samples.append(decode_sample(row, content, {task.name: task}))
    return samples


@pytest.fixture
def stamps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with three stamps, one of which cannot be drawn, unpacked by the real `dpkg-deb` if there is one."""
    root = tmp_path / "content" / "usr" / "share" / "tuxpaint" / "stamps"
    for name in ("animals/cat", "town/house", "food/broken", "space/rocket"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.txt").write_text(f"A {name}.\nfr.utf8=Un {name}.\nxx.utf8=\n", encoding="utf-8")
        for language in ("_fr", "", "_ru", "_lt"):
            (root / f"{name}_desc{language}.ogg").write_bytes(
                sound_bytes(tone(0.2, 44_100), 44_100, kind="OGG", subtype="VORBIS")
            )
    (root / "animals/cat.png").write_bytes(picture_bytes(noise_picture(300, 150)))
    (root / "town/house.svg").write_text(SVG)
    (root / "food/broken.svg").write_text("<svg")
    (root / "space/rocket.png").write_bytes(picture_bytes(noise_picture()))
    (root / "town/house_desc_fr.ogg").write_bytes(b"OggS broken")

    def fetch(packages: list[str], into: Path) -> dict[str, str]:
        into.mkdir(parents=True)
        (tmp_path / "content" / "usr").rename(into / "usr")
        return {packages[0]: "test"}

    monkeypatch.setattr(debian, "fetch", fetch)
    return tmp_path / "out"


@needs_extra
def test_tux_paint_has_a_row_for_every_stamp_and_language(stamps: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    manifest = tux_paint.build(stamps, lambda *step: steps.append(step))
    samples = samples_of(manifest, "stamp.yaml")
    assert [sample.id for sample in samples] == ["tux-fr-animals/cat", "tux-en-animals/cat", "tux-en-town/house"]
    assert [sample.answer for sample in samples] == ["animals", "animals", "town"]
    assert [sample.domain for sample in samples] == ["fr", "en", "en"]
    assert samples[0].item == samples[1].item == "tux-animals/cat"
    assert samples[0].inputs["text"] == "Un animals/cat."
    assert np.asarray(samples[0].inputs["image"]).shape == (128, 64, 3)
    assert np.asarray(samples[2].inputs["image"]).reshape(-1, 3).mean(axis=0).tolist() == [255, 0, 0]
    assert np.asarray(samples[0].inputs["audio"]).shape == (1600,)
    assert steps[-1] == ("stamps", 3, 3)


@needs_extra
def test_tux_paint_records_what_it_could_not_use_and_builds_once(stamps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tux_paint.build(stamps)
    record = read_record(stamps)
    assert record is not None
    assert (record.num_items, record.num_rows, record.versions) == (2, 3, {tux_paint.PACKAGE: "test"})
    assert set(record.skipped) == {"food/broken", "tux-fr-town/house"}
    assert not (stamps / "package" / "usr").exists()
    monkeypatch.setattr(debian, "fetch", None)
    assert tux_paint.build(stamps) == manifest


@needs_extra
def test_easy_vqa_asks_its_questions_as_instructions(tmp_path: Path) -> None:
    manifest = easy_vqa.build(tmp_path)
    rows = list(read_manifest(manifest))
    sources = Counter(row.source for row in rows if isinstance(row, ManifestRow))
    assert sources == {f"easy-vqa/{part}": number for part, number in easy_vqa.NUM_QUESTIONS.items()}
    assert len(list((tmp_path / "image").iterdir())) == 5000
    task = load_task(tmp_path / "tasks" / "easy_vqa.yaml")
    assert {row.answer for row in rows if isinstance(row, ManifestRow)} == set(task.answers)
    first = rows[0]
    assert isinstance(first, ManifestRow)
    assert first.instruction == "what is the blue shape?"
    assert (first.answer, first.domain, list(first.inputs)) == ("rectangle", "shape", ["image"])
    sample = decode_sample(first, {"image": read_ref(first.inputs["image"], base=tmp_path)}, {task.name: task})
    assert np.asarray(sample.inputs["image"]).shape == (64, 64, 3)


def test_a_missing_extra_names_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(module: str) -> Any:
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr(building, "import_module", refuse)
    for build in (easy_vqa.build, tux_paint.build):
        with pytest.raises(MissingExtraError, match=r"pip install 'omniloop\[benchmarks\]'"):
            build(tmp_path)
    assert building.main(easy_vqa.build, "x", ["--out", str(tmp_path)]) == 1


def test_an_unfinished_build_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    record = Record(name="x", versions={}, num_items=1, num_rows=2, skipped={"a": "b"})
    record.write(tmp_path)
    assert read_record(tmp_path) is None
    (tmp_path / "manifest.jsonl").write_text("")
    assert read_record(tmp_path) == record


def test_the_command_line_tells_what_was_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def build(out: Path, progress: building.Progress = building.discard) -> Path:
        progress("rows", 10, 10)
        (out / "manifest.jsonl").write_text("")
        Record(name="x", versions={}, num_items=1, num_rows=2).write(out)
        return out / "manifest.jsonl"

    assert building.main(build, "x", ["--out", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "1 items, 2 rows, 0 skipped" in told.out
    assert "rows: 10 of 10" in told.err


def test_a_system_without_apt_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PackageError, match=r"apt-get was not found.*Debian or Ubuntu"):
        debian.fetch(["some-package"], tmp_path)


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_failing_download_names_its_reason_and_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, "apt-get", "echo 'E: Unable to locate package' >&2; exit 100")
    tool(tmp_path, "dpkg-deb", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(PackageError, match=r"Unable to locate package.*apt-get update"):
        debian.fetch(["some-package"], tmp_path / "out")


def test_an_archive_that_is_there_is_not_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, "apt-get", "exit 1")
    tool(tmp_path, "dpkg-deb", 'if [ "$1" = "-f" ]; then echo 1.2; else mkdir -p "$3/usr"; fi')
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "out" / "archives").mkdir(parents=True)
    (tmp_path / "out" / "archives" / "some-package_1.2_all.deb").write_bytes(b"")
    assert debian.fetch(["some-package=1.2"], tmp_path / "out") == {"some-package": "1.2"}
    assert (tmp_path / "out" / "usr").is_dir()
