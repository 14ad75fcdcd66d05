"""How a model is built and trained. Frozen values, checked when made; importing this file imports no torch.

>>> ModelConfig(width=64, heads=4).head_width
16
>>> ElasticConfig(learning_rate=0.0)
Traceback (most recent call last):
ValueError: learning_rate must be above 0, got 0.0. A usual value is 0.001.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from omni_model.balance_config import BalanceConfig
from omni_model.profile_config import ProfileConfig

Attention = Literal["dcma", "seed", "joint", "multiway", "gated", "late"]
Strength = Literal["dynamic", "static", "none"]
Scale = Literal["article", "head"]
Loss = Literal["uniform", "dwa"]
Mode = Literal["interaction", "sandwich", "full"]
Deviation = Literal["abs", "signed_lag", "signed_lead"]
Reference = Literal["mean", "rate"]


def check_range(name: str, value: float, low: float, high: float, hint: str) -> None:
    """Refuse a value outside [low, high]; NaN is outside every range."""
    if not low <= value <= high:
        raise ValueError(f"{name} must lie within [{low:g}, {high:g}], got {value!r}. {hint}")


def check_above_zero(name: str, value: float, hint: str) -> None:
    """Refuse zero, negative and NaN."""
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value!r}. {hint}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a word that is not among the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}. Choose one of them.")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of an `OmniModel`. Two models with equal configs and tasks have equally shaped tensors."""

    modalities: tuple[str, ...] = ("text", "image", "audio")
    """Registered modalities that the model has an encoder for, in the order of its token blocks."""
    ignores: tuple[str, ...] = ()
    """Modalities that samples may bring and the model does not look at; any other unknown one is refused."""
    width: int = 96
    """Width of a token (D)."""
    heads: int = 4
    """Attention heads (H); divides `width`. The article's plain form uses one head whatever is set here."""
    within_layers: int = 1
    """Layers in which each modality attends to itself only, before the modalities meet."""
    layers: int = 1
    """Layers in which every token attends across modalities (L)."""
    ffn_width: int = 192
    """Hidden width of each modality's feed-forward network."""
    attention: Attention = "dcma"
    """`dcma`: projections per modality and an input-dependent bias between modalities. `seed`: the article's plain
    formula. `joint`: ordinary dense attention, the same weights for every modality. `multiway`: shared projections, a
    feed-forward network per modality (BEiT-3). `gated`: only the query looks across (Flamingo). `late`: none."""
    strength: Strength = "dynamic"
    """What `dcma` and `multiway` add to the scores by pair of modalities: a learned table and a function of the input
    (`dynamic`), the table alone (`static`), or nothing (`none`; with per-modality weights, mixture-of-transformers)."""
    scale: Scale = "article"
    """Scale of the scores: `article` is (head width / number of modalities)^-0.5, `head` is (head width)^-0.5."""
    dropout: float = 0.1
    """Probability with which a unit of a residual branch is dropped in training and in MC-dropout passes."""
    segments: int = 8
    """Segments in which a modality's tokens are pooled to its own embedding."""
    instruction_tokens: int = 2
    """Tokens that the instruction is pooled into."""
    links: Mapping[str, float] = field(default_factory=dict)
    """How strongly one group's tokens attend to another's before anything is learnt, by layer across modalities, e.g.
    {"0.image>audio": 0.0}: 1 (where nothing is named) leaves it, 2 doubles it, 0 cuts it for good. Groups are the
    modalities and `instruction`, which holds the query too. `dcma` with a bias only."""
    encoder_options: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Options of single encoders by modality, e.g. {"image": {"size": 64}}."""

    def __post_init__(self) -> None:
        if not self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"modalities must be distinct and at least one, got {self.modalities!r}. Name each once.")
        if both := sorted(set(self.ignores) & set(self.modalities)):
            raise ValueError(f"ignores names {', '.join(both)}, which the model looks at. Name each on one side.")
        for name in ("width", "heads", "ffn_width", "segments", "instruction_tokens"):
            check_above_zero(name, getattr(self, name), "Use a whole number of at least 1.")
        check_range("within_layers", self.within_layers, 0, 64, "0 leaves them out.")
        check_range("layers", self.layers, 1, 64, "At least one layer must cross modalities.")
        if self.width % self.heads:
            raise ValueError(f"heads must divide width, got {self.heads} and {self.width}. Try 4 heads of 24.")
        check_choice("attention", self.attention, get_args(Attention))
        check_choice("strength", self.strength, get_args(Strength))
        check_choice("scale", self.scale, get_args(Scale))
        check_range("dropout", self.dropout, 0.0, 0.9, "0.1 is usual; 0 makes MC-dropout passes all alike.")
        unknown = sorted(set(self.encoder_options) - set(self.modalities) - {"text"})
        if unknown:
            raise ValueError(f"encoder_options names {unknown}, which are no modalities. Have: {self.modalities}.")
        for name, strength in self.links.items():
            self._check_link(name, strength)

    def _check_link(self, name: str, strength: float) -> None:
        layer, _, pair = name.partition(".")
        one, _, other = pair.partition(">")
        groups = (*self.modalities, "instruction")
        if not (layer.isdecimal() and int(layer) < self.layers and one in groups and other in groups):
            raise ValueError(
                f"links names {name!r}, which is no link. Write LAYER.FROM>TO with a layer below {self.layers} and two "
                f"of {', '.join(groups)}, such as 0.{groups[0]}>{groups[-1]}."
            )
        check_range(f"links[{name}]", strength, 0.0, 100.0, "1 leaves it, 0 cuts it.")
        if self.attention != "dcma" or self.strength == "none":
            raise ValueError(
                f"links need attention 'dcma' with a bias, got {self.attention!r}, {self.strength!r}. Leave them out."
            )
        if one == other and strength == 0:
            raise ValueError(f"links[{name}] would cut a group from itself. Cut it from others only.")

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads


@dataclass(frozen=True, kw_only=True)
class DwaConfig:
    """Dynamic weights of the losses. The defaults are the article's printed formula."""

    k: float = 1.0
    """Steepness of the sigmoid."""
    delta: float = 0.0
    """Threshold of the deviation, in units of the gradient norm (or of the mean, if `relative`)."""
    deviation: Deviation = "abs"
    """`abs`: |g_i - mean|, as printed. `signed_lag`: mean - g_i, raises what lags. `signed_lead`: g_i - mean."""
    relative: bool = False
    """Divide deviations by the mean, so that the weights do not depend on the gradients' scale."""
    reference: Reference = "mean"
    """What is compared: gradient norms with their `mean`, or each loss's training `rate` (loss / first loss)."""
    ema: float = 0.0
    """Decay of the bias-corrected running mean of the norms; 0 uses the latest norms alone."""
    normalise: bool = False
    """Scale the weights so that they sum to their number, which keeps the learning rate what it was set to."""
    low: float = 0.0
    """Smallest weight."""
    high: float = 1e9
    """Largest weight."""
    warmup_steps: int = 0
    """Steps with all weights 1 before the formula starts."""
    every: int = 1
    """Steps between two measurements of the gradients; the weights hold in between."""

    def __post_init__(self) -> None:
        check_above_zero("k", self.k, "The article leaves it open; 1 is neutral.")
        check_choice("deviation", self.deviation, get_args(Deviation))
        check_choice("reference", self.reference, get_args(Reference))
        check_range("ema", self.ema, 0.0, 0.9999, "0.9 averages about ten steps.")
        check_range("low", self.low, 0.0, self.high, "low must not exceed high.")
        check_range("warmup_steps", self.warmup_steps, 0, 10**9, "Give a number of steps.")
        check_range("every", self.every, 1, 10**9, "1 measures at every step.")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How `fit` trains. Every contender in a comparison gets the same augmentation."""

    epochs: int = 60
    """Passes over the training rows at most."""
    batch_rows: int = 32
    """Rows a step."""
    learning_rate: float = 2e-3
    """Peak of the warm-up and cosine schedule (AdamW)."""
    weight_decay: float = 0.05
    """Decoupled weight decay of matrices; vectors are not decayed."""
    warmup_share: float = 0.1
    """Share of all steps in which the learning rate rises."""
    gradient_clip: float = 1.0
    """Largest L2 norm of the gradient."""
    label_smoothing: float = 0.05
    """Share of the target's probability spread over all answers."""
    patience: int = 20
    """Epochs without a better validation loss before training stops; 0 never stops early."""
    average: float = 0.95
    """Decay a step of the running mean of the weights, which is what is validated and kept; 0 keeps the weights."""
    modality_dropout: float = 0.15
    """Probability with which a present modality is hidden from a row (never all of them)."""
    token_dropout: float = 0.1
    """Probability with which a token is hidden."""
    feature_noise: float = 0.1
    """Standard deviation of Gaussian noise on the tokens, as a share of their own."""
    unimodal_weight: float = 0.5
    """Weight of each modality's own loss beside the loss of the fused answer, with uniform weights."""
    loss: Loss = "uniform"
    """`uniform`: fixed weights. `dwa`: weights from gradient norms by `dwa`."""
    dwa: DwaConfig = field(default_factory=DwaConfig)
    """Used if `loss` is `dwa`."""
    balance: BalanceConfig = field(default_factory=BalanceConfig)
    """Published methods against modality bias; `gradnorm` takes the place of fixed weights."""
    calibrate_subsets: bool = False
    """Fit a temperature for each combination of modalities beside the one for all."""
    checkpoint_every: int = 5
    """Epochs between two training checkpoints, if a folder is given."""

    def __post_init__(self) -> None:
        check_range("epochs", self.epochs, 1, 10**6, "Give a number of passes.")
        check_range("batch_rows", self.batch_rows, 1, 10**6, "32 is usual.")
        check_above_zero("learning_rate", self.learning_rate, "A usual value is 0.001.")
        check_range("weight_decay", self.weight_decay, 0.0, 10.0, "0.05 is usual.")
        check_range("warmup_share", self.warmup_share, 0.0, 1.0, "0.1 is usual.")
        check_above_zero("gradient_clip", self.gradient_clip, "1 is usual.")
        check_range("patience", self.patience, 0, 10**6, "0 never stops early.")
        for name in ("label_smoothing", "average", "modality_dropout", "token_dropout"):
            check_range(name, getattr(self, name), 0.0, 0.9999, "0 switches it off.")
        for name in ("feature_noise", "unimodal_weight"):
            check_range(name, getattr(self, name), 0.0, 100.0, "0 switches it off.")
        check_choice("loss", self.loss, get_args(Loss))
        if self.loss == "dwa" and self.balance.method == "gradnorm":
            raise ValueError("DWA and GradNorm both set the weights of the losses. Choose one: loss or balance.method.")
        check_range("checkpoint_every", self.checkpoint_every, 1, 10**6, "1 writes after every epoch.")


@dataclass(frozen=True, kw_only=True)
class ElasticConfig(TrainConfig):
    """How `tune` continues from an accepted version without moving its frozen part."""

    epochs: int = 10
    """Passes over the new labelled rows at most."""
    patience: int = 0
    """Epochs without a better validation loss before tuning stops; 0 never stops early."""
    mode: Mode = "interaction"
    """`interaction`: only the interaction layers move. `sandwich`: the encoders' last projections too. `full`: all."""
    also: tuple[str, ...] = ()
    """Further module paths that may move, e.g. ("encoders.audio",)."""
    only: tuple[str, ...] = ()
    """If not empty, the module paths below the interaction layers that move, e.g. ("layers.head",)."""
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    """A time budget, within which short trials choose `only` and `epochs`; `epochs` above is then the most."""
    replay_share: float = 0.25
    """Share of each batch that is drawn from earlier rows, against forgetting."""
    own_share: float = 0.45
    """Share of each batch that is drawn from new rows without an answer, under the model's own confident answers."""
    own_confidence: float = 0.9
    """Probability from which the model's own answer is taken."""
    own_from: float = 0.25
    """Share of the epochs that pass before the model's own answers are taken."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("mode", self.mode, get_args(Mode))
        if self.only and (self.mode != "interaction" or self.also):
            raise ValueError("only narrows the interaction layers, mode and also widen them. Set one of them.")
        check_range("replay_share", self.replay_share, 0.0, 0.95, "0.5 is usual.")
        check_range("own_share", self.own_share, 0.0, 0.95 - self.replay_share, "Leave room for the new rows.")
        check_range("own_confidence", self.own_confidence, 0.0, 1.0, "0.9 is usual.")
        check_range("own_from", self.own_from, 0.0, 1.0, "0.25 is usual.")
