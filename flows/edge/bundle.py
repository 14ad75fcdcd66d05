"""The folder that travels: a model, what is known of it, and the rules by which it leaves modalities out. No pickle.

bundle.json   what it is: version, digests, modalities, tasks and answers, what was measured
model/        a checkpoint of its own: model.json, model.safetensors
msn.json      the selector of modalities, measured on this model; left out where there is nothing to choose
README.md     how to run it
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flows.errors import LoopError

SCHEMA_VERSION = 1
BUNDLE, MODEL, MSN, README = "bundle.json", "model", "msn.json", "README.md"


class BundleError(LoopError):
    """A folder that is no bundle, or a damaged one."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What a bundle says of itself."""

    schema_version: int = SCHEMA_VERSION
    version: int
    """The version that the model was made of."""
    version_digest: str
    """That version's own checkpoint."""
    digest: str
    """The checkpoint in the folder."""
    msn_digest: str = ""
    """BLAKE2b of msn.json; empty without one."""
    modalities: tuple[str, ...]
    layers: int | None
    """Layers across modalities; None for a model of one's own."""
    tasks: Mapping[str, tuple[str, ...]]
    """Answers by task."""
    measured: Mapping[str, Any] = field(default_factory=dict)
    """Accuracy, latency and size of this model and of the full one, on the same validation samples."""
    made_at: str
    """UTC, ISO 8601."""

    def write(self, folder: Path) -> None:
        """Write bundle.json, last of all: a folder without one is no bundle."""
        text = json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False)
        partial = folder / f"{BUNDLE}.partial"
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(folder / BUNDLE)


def read_bundle(folder: Path, *, digest_of: Callable[[Path], str]) -> Bundle:
    """What a folder says of itself, its model checked against its digest. Raises :class:`BundleError`."""
    mend = "Copy the folder anew, or make one with `omniloop edge export`."
    try:
        raw = json.loads((folder / BUNDLE).read_text(encoding="utf-8"))
        version = raw["schema_version"]
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"{folder} has schema version {version}; this release reads {SCHEMA_VERSION}. "
                "Export it anew with this release, or serve it with the one that made it."
            )
        raw["modalities"] = tuple(raw["modalities"])
        raw["tasks"] = {name: tuple(answers) for name, answers in raw["tasks"].items()}
        bundle = Bundle(**raw)
    except OSError as error:
        raise BundleError(f"{folder} is no bundle: {error}. {mend}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{folder / BUNDLE} is damaged: {error}. {mend}") from error
    found = digest_of(folder / MODEL)
    if found != bundle.digest:
        raise BundleError(f"The model in {folder} has digest {found[:12]}, not {bundle.digest[:12]}. {mend}")
    return bundle
