"""Easy-VQA: 48,248 questions about 5,000 pictures of one coloured shape each; 13 answers.

Built from the PyPI package `easy-vqa` (MIT). The question is the instruction, the picture the only input, so the answer
needs both; questions alone give .67, pictures alone .36, so the set shows a language bias. An item is a picture.
Its own division into train and test is kept as the source only: splits are made by item, as for every set.

Run `python -m omni_model.data.easy_vqa --out DIR`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from omni_model.data.building import Progress, Record, discard, import_extra, main, read_record
from omni_model.data.writing import MANIFEST_NAME, open_manifest
from omni_model.sample import TaskSpec

NUM_QUESTIONS = {"train": 38_575, "test": 9_673}
SHAPES = ("circle", "rectangle", "triangle")
COLORS = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")
TASK = TaskSpec(
    name="easy_vqa",
    instructions=("Answer the question about the picture.",),
    answers=("yes", "no", *SHAPES, *COLORS),
)


def build(out: Path, progress: Progress = discard) -> Path:
    """Copy the pictures and write the manifest; a few seconds. Raises `MissingExtraError` without the package."""
    if read_record(out) is not None:
        return out / MANIFEST_NAME
    easy_vqa = import_extra("easy_vqa")
    parts = {
        "train": (easy_vqa.get_train_questions(), easy_vqa.get_train_image_paths()),
        "test": (easy_vqa.get_test_questions(), easy_vqa.get_test_image_paths()),
    }
    total = sum(len(questions[0]) for questions, _ in parts.values())
    with open_manifest(out, tasks=[TASK]) as manifest:
        for part, (questions, images) in parts.items():
            copied = _copy(part, images, out / "image")
            for row in rows(part, questions, copied):
                manifest.add(row)
                progress("questions", manifest.num_rows, total)
    num_items = sum(len(images) for _, images in parts.values())
    versions = {"easy-vqa": version("easy-vqa")}
    Record(name="easy_vqa", versions=versions, num_items=num_items, num_rows=manifest.num_rows).write(out)
    return manifest.path


def rows(
    part: str, questions: tuple[list[str], list[str], list[int]], images: dict[int, str]
) -> Iterator[dict[str, str]]:
    """Manifest rows of one part: `questions` as texts, answers and image numbers, `images` as number to path."""
    for number, (question, answer, image) in enumerate(zip(*questions, strict=True)):
        yield {
            "id": f"easy-vqa-{part}-{number:05d}",
            "task": TASK.name,
            "instruction": question,
            "image": images[image],
            "answer": answer,
            "item": f"easy-vqa-{part}-{image}",
            "source": f"easy-vqa/{part}",
            "domain": kind_of(question),
        }


def kind_of(question: str) -> str:
    """What is asked about; the stratum of the question.

    >>> kind_of("what color is the shape?"), kind_of("what is the blue shape?"), kind_of("is there a circle?")
    ('color', 'shape', 'yes-no')
    """
    if not question.startswith("what"):
        return "yes-no"
    return "color" if "color" in question else "shape"


def _copy(part: str, images: dict[int, str], folder: Path) -> dict[int, str]:
    folder.mkdir(parents=True, exist_ok=True)
    copied = {}
    for number, source in sorted(images.items()):
        shutil.copyfile(source, folder / f"{part}-{number}.png")
        copied[number] = f"image/{part}-{number}.png"
    return copied


if __name__ == "__main__":
    sys.exit(main(build, "Build the easy-VQA set from its package."))
