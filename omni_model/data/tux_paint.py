"""Tux Paint stamps: pictures with their names in many languages and recorded spoken descriptions in eleven.

Built from the Debian package `tuxpaint-stamps-default` (GPL-2, so it is built where it is used and never shipped). A
sample is one stamp in one language: its picture, its name, its spoken description; the answer is its category. The ten
largest of the sixteen categories are the task. An item is a stamp, so its languages stay in one split. The category
`symbols` is 29 % of the stamps: report balanced accuracy.

Run `python -m omni_model.data.tux_paint --out DIR`. Layout of the package: `X.png` or `X.svg`; `X.txt`, English in the
first line, then `ll.utf8=...`; `X_desc_ll.ogg`, English without `_ll`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from omni_model.data import debian
from omni_model.data.building import Progress, Record, discard, import_extra, main, read_record
from omni_model.data.codecs import CODECS
from omni_model.data.errors import DecodeError
from omni_model.data.writing import MANIFEST_NAME, ManifestWriter, open_manifest
from omni_model.sample import TaskSpec

PACKAGE = "tuxpaint-stamps-default"
VERSION_TRIED = "2022.06.04-1"
LANGUAGES = ("fr", "es", "ca", "ro", "ru", "bg", "be", "el", "da", "nl", "en")
"""Those with a name and a recorded description for more than a few stamps. The first eight are the drift stream."""
CATEGORIES = (
    *("animals", "clothes", "food", "household", "people"),
    *("plants", "seasonal", "symbols", "town", "vehicles"),
)
TASK = TaskSpec(
    name="stamp",
    instructions=("What kind of thing is it?", "Which category does the stamp belong to?"),
    answers=CATEGORIES,
)
SIDE = 128
"""Pictures are scaled down to fit a square of this many pixels a side."""

Renderer = Callable[[Path], bytes]


@dataclass(frozen=True, kw_only=True)
class Stamp:
    """One stamp as found in the package."""

    name: str
    """Path below the stamps folder, without suffix; the first part is the category."""
    picture: Path
    names: Mapping[str, str]
    """Language to name."""
    spoken: Mapping[str, Path]
    """Language to recording."""

    @property
    def category(self) -> str:
        return self.name.partition("/")[0]


def build(out: Path, progress: Progress = discard) -> Path:
    """Fetch the package into `out/package`, write pictures, recordings and the manifest; about a minute.

    Raises `debian.PackageError` or `MissingExtraError`, both `RuntimeError`, with the mend in the message.
    """
    if read_record(out) is not None:
        return out / MANIFEST_NAME
    renderer = svg_renderer()
    progress("fetching the package, 161 MB", 0, 0)
    versions = debian.fetch([PACKAGE], out / "package")
    stamps = [stamp for stamp in find_stamps(out / "package") if stamp.category in CATEGORIES and stamp.spoken]
    skipped: dict[str, str] = {}
    num_items = 0
    with open_manifest(out, tasks=[TASK]) as manifest:
        for number, stamp in enumerate(stamps, start=1):
            try:
                _add(stamp, manifest, renderer, skipped)
                num_items += 1
            except DecodeError as error:
                skipped[stamp.name] = str(error)
            progress("stamps", number, len(stamps))
    shutil.rmtree(out / "package" / "usr")  # the archive stays: a second build needs no network
    record = Record(
        name="tux_paint", versions=versions, num_items=num_items, num_rows=manifest.num_rows, skipped=skipped
    )
    record.write(out)
    return manifest.path


def find_stamps(package: Path) -> Iterator[Stamp]:
    """Every stamp with a picture and a name, in the order of their paths. A PNG is preferred to an SVG."""
    root = package / "usr" / "share" / "tuxpaint" / "stamps"
    for text in sorted(root.rglob("*.txt")):
        base = text.with_suffix("")
        pictures = [path for suffix in (".png", ".svg") if (path := base.with_name(base.name + suffix)).is_file()]
        if pictures:
            names = parse_names(text.read_text(encoding="utf-8", errors="replace"))
            spoken = {language: path for language in LANGUAGES if (path := recording(base, language)).is_file()}
            yield Stamp(
                name=base.relative_to(root).as_posix(),
                picture=pictures[0],
                names=names,
                spoken={language: path for language, path in spoken.items() if language in names},
            )


def parse_names(text: str) -> dict[str, str]:
    """
    >>> parse_names("A cat.\\nfr.utf8=Un chat.\\n")
    {'en': 'A cat.', 'fr': 'Un chat.'}
    """
    first, *rest = text.splitlines() or [""]
    pairs = (line.partition(".utf8=") for line in rest)
    names = {"en": first.strip()} | {language: name.strip() for language, mark, name in pairs if mark}
    return {language: name for language, name in names.items() if name}


def recording(base: Path, language: str) -> Path:
    """Where the spoken description in a language would be."""
    return base.with_name(base.name + ("_desc.ogg" if language == "en" else f"_desc_{language}.ogg"))


def svg_renderer() -> Renderer:
    """Drawings to PNG bytes. Raises `MissingExtraError` if `resvg-py` is not installed."""
    svg_to_bytes = import_extra("resvg_py").svg_to_bytes

    def render(path: Path) -> bytes:
        try:
            return bytes(svg_to_bytes(svg_path=str(path), width=2 * SIDE, skip_system_fonts=True))
        except ValueError as error:
            raise DecodeError(f"{path.name} cannot be drawn: {error}.") from error

    return render


def _add(stamp: Stamp, manifest: ManifestWriter, renderer: Renderer, skipped: dict[str, str]) -> None:
    content = renderer(stamp.picture) if stamp.picture.suffix == ".svg" else stamp.picture.read_bytes()
    picture = CODECS["image"].decode(content)
    image = manifest.add_file(CODECS["image"], stamp.name, shrunk(np.asarray(picture)))
    for language, path in stamp.spoken.items():
        sample_id = f"tux-{language}-{stamp.name}"
        try:
            audio = manifest.add_file(CODECS["audio"], sample_id, CODECS["audio"].decode(path.read_bytes()))
        except DecodeError as error:
            skipped[sample_id] = str(error)
            continue
        manifest.add(
            {
                "id": sample_id,
                "task": TASK.name,
                "text": stamp.names[language],
                "image": image,
                "audio": audio,
                "answer": stamp.category,
                "item": f"tux-{stamp.name}",
                "source": "tux-paint",
                "domain": language,
            }
        )


def shrunk(picture: np.ndarray) -> np.ndarray:
    """`uint8 [H, W, 3]` scaled down to fit `SIDE x SIDE`, proportions kept; small pictures stay as they are."""
    image = Image.fromarray(picture)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return np.array(image)


if __name__ == "__main__":
    sys.exit(main(build, "Build the Tux Paint set from its Debian package."))
