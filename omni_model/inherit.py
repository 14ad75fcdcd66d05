"""Weight sharing: a model of another architecture that starts from a trained one's weights, wherever they fit.

Encoders are taken over bit for bit, so the tokens of one encoding serve every architecture of a search. Layers that are
new leave their input as it is at first (their last maps are zero), widened ones do what they did before.
"""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import Tensor

from omni_model.config import ModelConfig
from omni_model.features import FeatureSet, encoder_digest
from omni_model.freeze import fingerprint
from omni_model.layers import Block
from omni_model.model import OmniModel
from omni_model.submodel import sub_config, weights_of

PARTIAL = re.compile(r"\.(rise|fall)\.|\.read\.score\.")
"""Maps of which a part may be taken over when they are wider or narrower."""
CLOSING = re.compile(r"layers\.(?P<stage>within|across)\.(?P<place>\d+)\.(attention\.out|fall)\.")
"""Maps whose zeros leave a layer's input as it is."""


def child_of(parent: OmniModel, config: ModelConfig, *, seed: int = 0) -> OmniModel:
    """A model of shape `config` that shares what it can with the parent; what is new is a function of `seed`.

    Width, heads and encoder options must be the parent's: the encoders are shared. Raises `ValueError` else.
    """
    _check(parent.config, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        child = OmniModel(config, parent.tasks)
    kept = sub_config(parent.config, config.modalities)
    have = weights_of(parent, kept) if kept != parent.config else dict(parent.state_dict())
    _keep_scale(have, parent, kept, child)
    state = child.state_dict()
    for name, value in state.items():
        state[name] = _taken_over(name, value, have.get(name))
    child.load_state_dict(state)
    child.temperature = parent.temperature
    return child.eval()


def tokens_for(child: OmniModel, parent: OmniModel, features: FeatureSet) -> FeatureSet:
    """The parent's tokens as the child's: those of its own modalities. Raises `ValueError` if an encoder differs."""
    theirs = parent.state_dict()
    for name, value in child.state_dict().items():
        if name.startswith("encoders.") and fingerprint(value) != fingerprint(theirs[name]):
            raise ValueError(f"The encoders differ in {name}, so tokens cannot be shared. Encode the samples again.")
    return replace(features.only(child.config.modalities), encoder=encoder_digest(child))


def _check(parent: ModelConfig, config: ModelConfig) -> None:
    for name in ("width", "heads", "attention"):
        if getattr(parent, name) != getattr(config, name):
            raise ValueError(
                f"{name} must stay {getattr(parent, name)!r} for weights to be shared, got {getattr(config, name)!r}. "
                "Train such a model from scratch."
            )
    options = {name: dict(value) for name, value in parent.encoder_options.items()}
    if any(dict(value) != options.get(name) for name, value in config.encoder_options.items()):
        raise ValueError(
            "encoder_options must stay as they are for encoders to be shared. Leave them out of the search."
        )


def _keep_scale(have: dict[str, Tensor], parent: OmniModel, kept: ModelConfig, child: OmniModel) -> None:
    """Fold a change of the scale of the scores into the queries, so that the scores stay what they were."""
    if kept.scale == child.config.scale or kept.attention in ("seed", "late", "gated"):
        return
    groups = len(kept.modalities) + 1 if kept.scale == "article" else 1
    old = (kept.head_width / groups) ** -0.5
    ours = child.layers.across[0]
    assert isinstance(ours, Block)
    for name in have:
        if ".attention.qkv.maps." in name:
            have[name] = have[name].clone()
            have[name][: kept.width] *= old / ours.attention.scale


def _taken_over(name: str, value: Tensor, old: Tensor | None) -> Tensor:
    """The child's tensor: the parent's, a part of it, or as it was made."""
    if old is not None and old.shape == value.shape:
        return old.clone()
    if old is not None and old.ndim == value.ndim and PARTIAL.search(name):
        made = torch.zeros_like(value) if ".fall." in name else value.clone()
        part = tuple(slice(0, min(a, b)) for a, b in zip(old.shape, value.shape, strict=True))
        made[part] = old[part]
        return made
    return torch.zeros_like(value) if old is None and CLOSING.match(name) else value.clone()
