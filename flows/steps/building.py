"""The known data sets as manifests, by name."""

from collections.abc import Callable
from pathlib import Path

from omni_model.data.writing import write_manifest


def build_data_set(name: str, out: Path) -> Path:
    """Build ``name`` below ``out`` and return the path of its manifest. Raises ``KeyError`` for an unknown name."""
    return BUILDERS[name](out)


def _tri_digits(out: Path) -> Path:
    from omni_model.data import tri_digits

    return write_manifest(tri_digits.load(), out, tasks=[tri_digits.TASK])


def _tux_paint(out: Path) -> Path:
    from omni_model.data import tux_paint

    return tux_paint.build(out)


def _easy_vqa(out: Path) -> Path:
    from omni_model.data import easy_vqa

    return easy_vqa.build(out)


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "tri-digits": _tri_digits,
    "tux-paint": _tux_paint,
    "easy-vqa": _easy_vqa,
}
