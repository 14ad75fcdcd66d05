"""Lighter models out of a trained one: fewer modalities, fewer layers across them; every weight that stays is copied.

With fewer modalities alone, the light model answers what the full one answers when it is shown only those, to rounding:
projections, norms and biases of the groups that stay are sliced out, the columns of the dynamic bias that read an
absent group's share are dropped, since that share is 0, and the scale of the scores, which in the article's form
depends on the number of groups, goes into the queries. With fewer layers it has to be taught anew; see
`omni_model.distil`.

Shapes: D width, H heads, E head width, M groups of the full model, m groups that stay, C context.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from omni_model.config import ModelConfig
from omni_model.model import OmniModel
from omni_model.protocol import INSTRUCTION, LoopModel

MAP = re.compile(r"(?P<head>layers\.(?:within|across)\.(?P<place>\d+)\..*\.maps\.)(?P<group>\d+)(?P<tail>\..*)")
LAYER = re.compile(r"layers\.across\.(\d+)\.")


def sub_config(config: ModelConfig, modalities: Sequence[str] = (), layers: int = 0) -> ModelConfig:
    """The shape of the light model. No modalities, or 0 layers: as many as there are; the order stays.

    >>> sub_config(ModelConfig(layers=3), ["audio", "text"], 1).modalities
    ('text', 'audio')
    >>> sub_config(ModelConfig(), ["smell"])
    Traceback (most recent call last):
    ValueError: The model has no modality smell; it takes text, image, audio. Name some of these.
    """
    kept = tuple(name for name in config.modalities if name in modalities) if modalities else config.modalities
    unknown = [name for name in modalities if name not in config.modalities]
    if unknown:
        takes = ", ".join(config.modalities)
        raise ValueError(f"The model has no modality {', '.join(unknown)}; it takes {takes}. Name some of these.")
    if layers < 0 or layers > config.layers:
        raise ValueError(
            f"The model has {config.layers} layers across modalities, got {layers}. "
            f"Keep 1 to {config.layers} of them, or 0 for all."
        )
    if kept != config.modalities and config.attention == "seed" and config.scale == "article":
        raise ValueError(
            "The article's plain attention scales its scores by the number of modalities, so none can be left out. "
            "Keep all modalities, or train with ModelConfig.scale='head'."
        )
    if config.attention == "late" and 0 < layers < config.layers:
        raise ValueError("Late fusion has no layers across modalities to leave out. Keep them all: layers=0.")
    options = {name: dict(value) for name, value in config.encoder_options.items() if name in {*kept, "text"}}
    num_layers = layers or config.layers
    links = {name: strength for name, strength in config.links.items() if is_link_of(name, kept, num_layers)}
    return replace(config, modalities=kept, layers=num_layers, links=links, encoder_options=options)


def is_link_of(name: str, modalities: Sequence[str], layers: int) -> bool:
    """Whether a link lies between what stays.

    >>> is_link_of("0.text>audio", ["text"], 1), is_link_of("0.text>instruction", ["text"], 1)
    (False, True)
    """
    layer, _, pair = name.partition(".")
    return int(layer) < layers and set(pair.split(">")) <= {*modalities, INSTRUCTION}


def submodel(model: LoopModel, modalities: Sequence[str] = (), layers: int = 0) -> OmniModel:
    """A model of its own with fewer modalities and only the first `layers` across them, in evaluation mode.

    Raises `ValueError` for a model of another class, an unknown modality, or too many layers.
    """
    if not isinstance(model, OmniModel):
        raise ValueError(f"A {type(model).__name__} cannot be cut down. Export it whole: name no modalities or layers.")
    config = sub_config(model.config, modalities, layers)
    with torch.random.fork_rng(devices=[]):
        light = OmniModel(config, model.tasks)
    light.load_state_dict(weights_of(model, config))
    light.temperature, light.temperatures = model.temperature, dict(model.temperatures)
    return light.eval()


def weights_of(model: OmniModel, config: ModelConfig) -> dict[str, Tensor]:
    """The tensors of the light model by name, copied out of the full one."""
    groups = kept_groups(model.config, config)
    made: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        kept = _renamed(name, groups, config)
        if kept is not None:
            made[kept] = _sliced(name, value, groups, model.config).clone()
    ratio = ((len(model.config.modalities) + 1) / len(groups)) ** 0.5 if config.scale == "article" else 1.0
    for name in made:
        if ".attention.qkv.maps." in name:
            made[name][: config.width] *= ratio  # rows are (q, k, v) by width
    return made


def kept_groups(full: ModelConfig, light: ModelConfig) -> list[int]:
    """Places of the groups that stay among those of the full model; the last one is the query's.

    >>> kept_groups(ModelConfig(), ModelConfig(modalities=("text", "audio")))
    [0, 2, 3]
    """
    return [full.modalities.index(name) for name in light.modalities] + [len(full.modalities)]


def _renamed(name: str, groups: Sequence[int], config: ModelConfig) -> str | None:
    """The name in the light model; None for what it does without."""
    layer = LAYER.match(name)
    if layer and int(layer[1]) >= config.layers:
        return None
    parts = name.split(".")
    if parts[0] == "encoders" and parts[1] not in {*config.modalities, "text"}:
        return None
    if parts[:2] in (["layers", "position"], ["layers", "pool"]) and parts[2] not in config.modalities:
        return None
    found = MAP.fullmatch(name)
    if not found or config.attention == "joint":
        return name
    if config.attention == "seed" and ".attention.project." not in name:
        return name  # the feed-forward network is shared
    if config.attention == "multiway" and ".attention." in name:
        return name  # the projections are shared
    if int(found["group"]) not in groups:
        return None
    return f"{found['head']}{groups.index(int(found['group']))}{found['tail']}"


def _sliced(name: str, value: Tensor, groups: Sequence[int], full: ModelConfig) -> Tensor:
    """The part of a tensor that belongs to the groups that stay."""
    num_groups = len(full.modalities) + 1
    leaf = name.rsplit(".", 1)[-1]
    if leaf in ("gain_MD", "offset_MD") and value.shape[0] == num_groups:
        return value[groups]
    if leaf == "bias_HMM":
        return value[:, groups][:, :, groups]
    if ".attention.dynamic." in name:
        table = value.reshape(full.heads, num_groups, num_groups, -1)[:, groups][:, :, groups].flatten(0, 2)
        return table[:, 0] if leaf == "bias" else table[:, _context(full.width, groups, num_groups)]
    return value


def _context(width: int, groups: Sequence[int], num_groups: int) -> list[int]:
    """Columns of the context that stay: the mean token, then the shares and the densities of the groups.

    >>> _context(2, [0, 2], 3)
    [0, 1, 2, 4, 5, 7]
    """
    return [*range(width), *(width + group for group in groups), *(width + num_groups + group for group in groups)]


def num_bytes(state: Mapping[str, Tensor]) -> int:
    """Bytes of some tensors.

    >>> num_bytes({"a": torch.zeros(3)})
    12
    """
    return sum(value.numel() * value.element_size() for value in state.values())
