"""Every decoder under truncated, mutated and hostile files: a refusal or a value, no crash, and memory within a bound.

They are decoded in processes of their own, where a segmentation fault is seen and the peak of memory belongs to them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.omni_model.serve.hostile_files import HOSTILE, check, hand_made, mutated, outcome_of, seeds

ROOT = Path(__file__).parents[3]
NUM_MUTATED = int(os.environ.get("FUZZ_FILES", "1500"))
"""Mutated files a run; `FUZZ_FILES=100000` looks for longer."""
MAX_GROWN_MB = 320
"""How far decoding one file may raise the memory of a process: a picture of 16 megapixels with alpha takes 288 MB."""
GROUPS = [list(HOSTILE)[start::4] for start in range(4)]


def decode_elsewhere(*what: str) -> dict[str, Any]:
    """What a process of its own says of these files. A crash of it fails the test with the last words."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.omni_model.serve.hostile_files", *what],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-2000:]}"
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.mark.slow
def test_mutated_files_of_every_format_are_refused_or_decoded_within_bounds() -> None:
    said = decode_elsewhere(str(NUM_MUTATED))
    assert said["grown_mb"] < MAX_GROWN_MB
    for modality in ("image", "audio", "video", "sensor", "text"):
        assert said["outcomes"][f"{modality} DecodeError"] > 0
        assert said["outcomes"][f"{modality} value"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("names", GROUPS, ids=["first", "second", "third", "fourth"])
def test_hostile_files_are_refused_or_decoded_within_bounds(names: list[str]) -> None:
    for name, said in decode_elsewhere(*names).items():
        assert said["grown_mb"] < MAX_GROWN_MB, f"{name}: {said}"
        assert said["seconds"] < 20, f"{name}: {said}"


@pytest.mark.parametrize("seed", seeds(), ids=[f"{modality} {kind}" for modality, kind, _ in seeds()])
def test_the_files_that_mutations_start_from_are_sound(seed: tuple[str, str, bytes]) -> None:
    assert outcome_of(seed[0], seed[2]) == "value"


@pytest.mark.parametrize(
    "name", ["169 megapixels", "a colour profile of 512 MB", "a second GIF frame far away", "an array of 2^60 values"]
)
def test_bombs_are_refused_before_they_are_unpacked(name: str) -> None:
    said = hand_made(name)
    assert said["outcome"] == "DecodeError"
    assert said["grown_mb"] < 40


@settings(max_examples=100, deadline=None, derandomize=True)
@given(file=mutated())
def test_a_mutated_file_raises_nothing_but_decode_error(file: tuple[str, bytes]) -> None:
    outcome_of(*file)


def test_a_value_out_of_bounds_would_be_noticed() -> None:
    with pytest.raises(AssertionError):
        check("text", "a" * 1_000_000)
