from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omni_model.data import manifest as module
from omni_model.data.manifest import ManifestRow, RowFault, read_manifest

GOOD = {"id": "a", "task": "digit", "text": "two"}


def write(path: Path, *lines: Any) -> Path:
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(raw) + b"\n")
    return path


READ = """
import sys

import psutil

from omni_model.data.manifest import read_manifest

rss = psutil.Process().memory_info
next(iter(read_manifest(sys.argv[1])))
before, num_rows, most = rss().rss, 0, 0
for _ in read_manifest(sys.argv[1]):
    num_rows += 1
    if num_rows % 5_000 == 0:
        most = max(most, rss().rss)
print(num_rows, most - before)
"""  # in a process of its own: what other tests left in memory does not count


def numbered(num_rows: int) -> list[dict[str, str]]:
    return [{"id": f"row-{number}", "task": "digit", "text": "two"} for number in range(num_rows)]


def test_every_field_of_a_row_arrives(tmp_path: Path) -> None:
    raw = {
        "id": "a",
        "task": "digit",
        "instruction": "Which?",
        "item": "thing",
        "source": "shop",
        "domain": "fr",
        "time": "2026-03-01T13:00:00+01:00",
        "answer": "2",
        "text": "deux",
        "image": "images/a.png",
        "audio": {"base64": base64.b64encode(b"sound").decode()},
        "video": {"uri": "s3://bucket/a.mp4"},
        "sensor": {"path": "a.csv"},
    }
    assert list(read_manifest(write(tmp_path / "m.jsonl", raw))) == [
        ManifestRow(
            line=1,
            id="a",
            task="digit",
            instruction="Which?",
            item="thing",
            source="shop",
            domain="fr",
            time=datetime(2026, 3, 1, 12, tzinfo=UTC),
            answer="2",
            inputs={
                "text": b"deux",
                "image": "images/a.png",
                "audio": b"sound",
                "video": "s3://bucket/a.mp4",
                "sensor": "a.csv",
            },
        )
    ]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"id": "b", "task": ', "no JSON"),
        (b'{"id": "b", "task": "digit", "text": "\xe9"}', "not UTF-8: byte 0xe9 at position 38"),
        (b"[1, 2]", "holds a list, not an object"),
        (b"[" * 5000, "nested too deeply|no JSON"),
        (b"1" * 5000, "no JSON"),
        (b'{"id": "b", "id": "c", "task": "digit"}', "key 'id' occurs twice"),
        ({"task": "digit", "text": "two"}, "has no id"),
        ({"id": "", "task": "digit"}, "has no id"),
        ({"id": "b", "text": "two"}, "has no task"),
        ({"id": 7, "task": "digit"}, "id must be text, got 7"),
        ({**GOOD, "answer": 2}, "answer must be text, got 2"),
        ({**GOOD, "id": "x" * 600}, "more than the 512 allowed"),
        ({**GOOD, "source": "a\0b"}, "NUL"),
        (b'{"id": "\\ud800", "task": "digit"}', "half a surrogate pair"),
        (b'{"id": "b", "task": "digit", "text": "\\ud800"}', "half a surrogate pair"),
        ({**GOOD, "time": "2026-03-01T12:00:00"}, "with its offset"),
        ({**GOOD, "time": "yesterday"}, "with its offset"),
        ({**GOOD, "time": 5}, "with its offset"),
        ({**GOOD, "time": "0001-01-01T00:00:00+10:00"}, "outside the calendar"),
        ({**GOOD, "image": 5}, "image must be a path or URI"),
        ({**GOOD, "image": ""}, "no path or URI"),
        ({**GOOD, "image": {"base64": "%%%"}}, "base64 content is damaged"),
        ({**GOOD, "image": {"path": "a", "uri": "b"}}, "image must be a path or URI"),
        ({**GOOD, "image": {"url": "b"}}, "image must be a path or URI"),
    ],
)
def test_a_broken_line_is_a_fault_and_the_rest_goes_on(tmp_path: Path, raw: Any, reason: str) -> None:
    first, broken, last = read_manifest(write(tmp_path / "m.jsonl", GOOD, raw, {**GOOD, "id": "z"}))
    assert isinstance(first, ManifestRow)
    assert isinstance(last, ManifestRow)
    assert isinstance(broken, RowFault)
    assert broken.line == 2
    assert last.line == 3
    assert re.search(reason, broken.reason)
    assert broken.reason.rstrip().endswith(".")
    assert broken.raw


def test_a_fault_keeps_the_id_as_far_as_it_could_be_read(tmp_path: Path) -> None:
    (fault,) = read_manifest(write(tmp_path / "m.jsonl", {**GOOD, "answer": 2}))
    assert isinstance(fault, RowFault)
    assert fault.id == "a"


def test_reading_resumes_after_any_line(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", GOOD, b"", b"broken", *numbered(5))
    everything = list(read_manifest(path))
    assert [row.line for row in everything] == [1, 3, 4, 5, 6, 7, 8]  # the blank line is counted and passed over
    for start in range(10):
        assert list(read_manifest(path, start=start)) == [row for row in everything if row.line > start]


def test_reading_parquet_resumes_after_any_row(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.Table.from_pylist(numbered(300)), path, row_group_size=130)
    everything = list(read_manifest(path))
    assert [row.line for row in everything] == list(range(1, 301))
    for start in (0, 1, 63, 64, 129, 130, 131, 260, 299, 300, 500):
        assert list(read_manifest(path, start=start)) == everything[start:]


def test_parquet_and_jsonl_give_the_same_rows(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "a", "task": "digit", "text": "two", "image": "a.png", "answer": "2", "time": None},
        {
            "id": "b",
            "task": "digit",
            "text": None,
            "image": "b.png",
            "answer": None,
            "time": "2026-03-01T12:00:00+00:00",
        },
        {"id": None, "task": "digit", "text": "three", "image": None, "answer": "3", "time": None},
    ]
    write(tmp_path / "m.jsonl", *rows)
    times = [row["time"] and datetime.fromisoformat(row["time"]) for row in rows]
    for unit in ("ms", "us", "ns"):
        table = pa.Table.from_pylist([{**row, "time": None} for row in rows])
        table = table.set_column(5, "time", pa.array(times, pa.timestamp(unit, "UTC")))
        pq.write_table(table, tmp_path / "m.parquet")
        from_parquet, from_jsonl = (
            list(read_manifest(tmp_path / "m.parquet")),
            list(read_manifest(tmp_path / "m.jsonl")),
        )
        assert from_parquet[:2] == from_jsonl[:2]
        assert isinstance(from_parquet[2], RowFault)
        assert isinstance(from_jsonl[2], RowFault)
        assert from_parquet[2].reason == from_jsonl[2].reason


def test_parquet_carries_content_inline_as_bytes(tmp_path: Path) -> None:
    table = pa.table({"id": ["a"], "task": ["digit"], "image": pa.array([b"\x89PNG"]), "text": [{"path": "a.txt"}]})
    pq.write_table(table, tmp_path / "m.parquet")
    (row,) = read_manifest(tmp_path / "m.parquet")
    assert isinstance(row, ManifestRow)
    assert row.inputs == {"image": b"\x89PNG", "text": "a.txt"}


def test_a_parquet_text_that_is_not_utf8_costs_only_its_row(tmp_path: Path) -> None:
    raw = pa.array([b"one", b"\xff", b"three"]).view(pa.string())
    pq.write_table(pa.table({"id": ["a", "b", "c"], "task": ["t"] * 3, "text": raw}), tmp_path / "m.parquet")
    one, broken, three = read_manifest(tmp_path / "m.parquet")
    assert isinstance(one, ManifestRow)
    assert isinstance(three, ManifestRow)
    assert isinstance(broken, RowFault)
    assert "text cannot be read" in broken.reason


def test_a_naive_parquet_time_costs_only_its_row(tmp_path: Path) -> None:
    times = pa.array([datetime(2026, 1, 1), None], pa.timestamp("us"))
    pq.write_table(
        pa.table({"id": ["a", "b"], "task": ["t"] * 2, "text": ["x"] * 2, "time": times}), tmp_path / "m.parquet"
    )
    broken, good = read_manifest(tmp_path / "m.parquet")
    assert isinstance(broken, RowFault)
    assert "with its offset" in broken.reason
    assert isinstance(good, ManifestRow)


def test_a_damaged_row_group_gives_a_fault_for_each_of_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.Table.from_pylist(numbered(300)), path, row_group_size=100, compression="zstd")
    group = pq.ParquetFile(path).metadata.row_group(1).column(0)
    start = group.dictionary_page_offset or group.data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + group.total_compressed_size] = b"\xff" * group.total_compressed_size
    path.write_bytes(content)
    rows = list(read_manifest(path))
    assert [row.line for row in rows] == list(range(1, 301))
    assert [isinstance(row, RowFault) for row in rows] == [False] * 100 + [True] * 100 + [False] * 100


def test_a_line_longer_than_allowed_is_a_fault_and_is_never_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 1000)
    path = tmp_path / "m.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n" + b"x" * 10_000_000 + b"\n" + json.dumps(GOOD).encode())
    tracemalloc.start()
    first, long, last = read_manifest(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(first, ManifestRow)
    assert isinstance(long, RowFault)
    assert isinstance(last, ManifestRow)
    assert (long.line, last.line) == (2, 3)
    assert "more than 1,000 bytes" in long.reason
    assert peak < 2**20


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_manifest_of_100_000_rows_streams_in_bounded_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    if suffix == ".jsonl":
        with path.open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in numbered(100_000))
    else:
        pq.write_table(pa.Table.from_pylist(numbered(100_000)), path)
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    num_rows, growth = map(int, done.stdout.split())
    assert num_rows == 100_000
    assert growth < 48 * 2**20  # all rows at once take more than 100 MiB


def test_an_empty_manifest_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(b"")
    pq.write_table(pa.Table.from_pylist(numbered(1)).slice(0, 0), tmp_path / "m.parquet")
    assert list(read_manifest(tmp_path / "m.jsonl")) == list(read_manifest(tmp_path / "m.parquet")) == []


def test_what_is_no_manifest_at_all_raises(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("id\n")
    (tmp_path / "m.parquet").write_text("not parquet")
    (tmp_path / "m.jsonl").write_text("")
    with pytest.raises(FileNotFoundError, match="No manifest"):
        read_manifest(tmp_path / "other.jsonl")
    with pytest.raises(ValueError, match=r"named \.jsonl or \.parquet, got m\.csv"):
        read_manifest(tmp_path / "m.csv")
    with pytest.raises(ValueError, match="no readable Parquet"):
        list(read_manifest(tmp_path / "m.parquet"))
    with pytest.raises(ValueError, match="start must be at least 0"):
        read_manifest(tmp_path / "m.jsonl", start=-1)
