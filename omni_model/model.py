"""`OmniModel`: an encoder a modality, layers within and across modalities, and a head that reads the instruction.

Shapes: B batch, L tokens, D width, M modality groups (the modalities and the query), N instruction tokens, A answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from omni_model.config import ModelConfig
from omni_model.dcma import Layout
from omni_model.encoders import Encoder, build_encoders
from omni_model.gated import GatedBlock
from omni_model.layers import Block, Pool, Segments, context_of
from omni_model.protocol import INSTRUCTION, Batch, LoopModel, Output, register_model
from omni_model.sample import Sample, TaskSpec


class AnswerHead(nn.Module):
    """Scores of all answers for a vector, under an instruction: norm, FiLM by the instruction, one hidden layer."""

    def __init__(self, width: int, num_answers: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.film = nn.Linear(width, 2 * width)
        self.hidden = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.answers = nn.Linear(width, num_answers)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x_BD: Tensor, instruction_BD: Tensor) -> Tensor:
        gain_BD, offset_BD = self.film(instruction_BD).chunk(2, dim=-1)
        x_BD = self.norm(x_BD) * (1.0 + gain_BD) + offset_BD
        logits_BA: Tensor = self.answers(self.dropout(x_BD + gelu(self.hidden(x_BD))))
        return logits_BA

    def grow(self, places: Sequence[int | None]) -> None:
        """Answers anew: each keeps the weights of the place given, bit for bit, or starts neutral (zeros) for None."""
        old = self.answers
        new = nn.Linear(old.in_features, len(places), device=old.weight.device, dtype=old.weight.dtype)
        with torch.no_grad():
            new.weight.zero_()
            new.bias.zero_()
            for row, place in enumerate(places):
                if place is not None:
                    new.weight[row] = old.weight[place]
                    new.bias[row] = old.bias[place]
        self.answers = new


class Interaction(nn.Module):
    """Everything that tuning may move: positions, layers, pooling, head."""

    def __init__(self, config: ModelConfig, lengths: Mapping[str, int], num_answers: int) -> None:
        super().__init__()
        self.groups = (*config.modalities, INSTRUCTION)
        num_groups = len(self.groups)
        context_width = config.width + 2 * num_groups
        self.position = nn.ParameterDict(
            {name: nn.Parameter(0.02 * torch.randn(lengths[name], config.width)) for name in config.modalities}
        )
        self.query = nn.Parameter(0.02 * torch.randn(config.width))
        self.read = Pool(config.width, config.instruction_tokens)
        late = config.attention == "late"
        self.within = nn.ModuleList(
            Block(config, num_groups, context_width, within=True)
            for _ in range(config.within_layers + config.layers * late)
        )
        self.across = nn.ModuleList(
            GatedBlock(config, num_groups)
            if config.attention == "gated"
            else Block(config, num_groups, context_width, within=False, layer=layer)
            for layer in range(config.layers * (not late))
        )
        self.pool = nn.ModuleDict({name: Segments(config.width, config.segments) for name in config.modalities})
        self.head = AnswerHead(config.width, num_answers, config.dropout)

    def forward(self, batch: Batch) -> Output:
        x_BLD, layout, mask_BL = self.assemble(batch)
        instruction_BD = x_BLD[:, 1 : layout[0][1]].mean(dim=1)
        x_BLD, mask_BL, embeddings = self.inside(x_BLD, layout, mask_BL)
        modality_logits = {name: self.head(value, instruction_BD) for name, value in embeddings.items()}
        for block in self.across:
            x_BLD = block(x_BLD, layout, mask_BL, context_of(x_BLD, layout, mask_BL, len(self.groups)))
        fused_BD = x_BLD[:, 0] if len(self.across) else x_BLD[:, 0] + self.meet(embeddings, batch)
        logits_BA = self.head(fused_BD, instruction_BD)
        for name, logits in modality_logits.items():
            logits_BA = logits_BA + logits * batch.masks[name].any(dim=1, keepdim=True)
        return Output(logits=logits_BA, fused=fused_BD, embeddings=embeddings, modality_logits=modality_logits)

    def meet(self, embeddings: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Mean of the embeddings of the modalities that a row has, [B, D]: where late fusion lets them meet."""
        total_BD = torch.zeros_like(batch.values[INSTRUCTION][:, 0])
        count_B1 = total_BD.new_zeros(len(total_BD), 1)
        for name, value_BD in embeddings.items():
            there_B1 = batch.masks[name].any(dim=1, keepdim=True)
            total_BD = total_BD + value_BD * there_B1
            count_B1 = count_B1 + there_B1
        return total_BD / count_B1.clamp(min=1.0)

    def inside(self, x_BLD: Tensor, layout: Layout, mask_BL: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Layers within modalities, and each modality's own embedding after them."""
        context_BC = x_BLD.new_zeros(x_BLD.shape[0], 0)
        for block in self.within:
            x_BLD = block(x_BLD, layout, mask_BL, context_BC)
        embeddings, start = {}, 0
        for group, length in layout:
            name = self.groups[group]
            if name != INSTRUCTION:
                part = slice(start, start + length)
                embeddings[name] = self.pool[name](x_BLD[:, part], mask_BL[:, part])
            start += length
        return x_BLD, mask_BL, embeddings

    def assemble(self, batch: Batch) -> tuple[Tensor, Layout, Tensor]:
        """One sequence: the query and the instruction's tokens, then each modality's block."""
        words_BND = self.read(batch.values[INSTRUCTION], batch.masks[INSTRUCTION])
        num_rows, num_words = words_BND.shape[:2]
        blocks = [self.query.expand(num_rows, 1, -1), words_BND]
        masks = [torch.ones(num_rows, 1 + num_words, dtype=torch.bool, device=words_BND.device)]
        layout = [(len(self.groups) - 1, 1 + num_words)]
        for group, name in enumerate(self.groups):
            if name != INSTRUCTION and name in batch.values and batch.values[name].shape[1] > 0:
                tokens_BLD = batch.values[name]
                blocks.append(tokens_BLD + self.position[name][: tokens_BLD.shape[1]])
                masks.append(batch.masks[name])
                layout.append((group, tokens_BLD.shape[1]))
        return torch.cat(blocks, dim=1), tuple(layout), torch.cat(masks, dim=1)


@register_model
class OmniModel(LoopModel):
    """The model of the product. See `ModelConfig` for its shape."""

    architecture = "omni"

    def __init__(self, config: ModelConfig, tasks: Sequence[TaskSpec]) -> None:
        super().__init__(tasks)
        self.config = config
        self.interaction = ("layers",)
        self.shared = ("layers.head",)
        self.depths = (("layers.head",), ("layers.across", "layers.pool", "layers.head"), self.interaction)
        parts = ("encoders", "layers.position", "layers.pool")
        self.own = {name: tuple(f"{part}.{name}" for part in parts) for name in config.modalities}
        self.encoders = build_encoders(config)
        lengths = {name: self.encoder(name).max_tokens for name in config.modalities}
        self.layers = Interaction(config, lengths, len(self.answers))
        self.sandwich = tuple(
            f"encoders.{name}.{self.encoder(name).last}" for name in self.encoders if self.encoder(name).last
        )

    def encoder(self, modality: str) -> Encoder:
        """The encoder of a modality; text's is there in any case."""
        encoder = self.encoders[modality]
        assert isinstance(encoder, Encoder)
        return encoder

    def prepare(self, sample: Sample) -> dict[str, Tensor]:
        unknown = sorted(set(sample.inputs) - {*self.config.modalities, *self.config.ignores})
        if unknown:
            takes = ", ".join(self.config.modalities)
            raise ValueError(
                f"Sample {sample.id} has {', '.join(unknown)}, but the model takes {takes}. "
                "Leave it out, or train a model with it in ModelConfig.modalities."
            )
        prepared = {INSTRUCTION: self.encoder("text").prepare(sample.instruction)}
        for name, value in sample.inputs.items():
            if name in self.config.ignores:
                continue
            try:
                prepared[name] = self.encoder(name).prepare(value)
            except ValueError as error:
                raise ValueError(f"Sample {sample.id}: {error}") from error
        return prepared

    def encode(self, name: str, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        tokens, token_mask = self.encoder("text" if name == INSTRUCTION else name)(x, mask)
        return tokens, token_mask

    @property
    def device(self) -> torch.device:
        return self.layers.query.device

    def device_of(self, block: str) -> torch.device:
        return next(self.encoder("text" if block == INSTRUCTION else block).parameters()).device

    def place(self, of_block: Callable[[str], str], fuse: str) -> None:
        self.to(fuse)
        for name, encoder in self.encoders.items():
            encoder.to(of_block(name))

    def forward(self, batch: Batch) -> Output:
        output: Output = self.layers(batch)
        return output

    def add_task(self, task: TaskSpec) -> None:
        """Append a task, or widen a known one; answers that are new join the head, and nothing frozen is touched."""
        before = {answer: place for place, answer in enumerate(self.answers)}
        super().add_task(task)
        self.layers.head.grow([before.get(answer) for answer in self.answers])

    @torch.no_grad()
    def attention_mass(self, batch: Batch) -> Tensor:
        """Mean attention from group i to group j in each layer across modalities, [layers, M, M], of an encoded batch.

        Groups in the order of `config.modalities`, then the query. Rows sum to 1; NaN where a group has no token. Late
        fusion has no such layer.
        """
        layers = self.layers
        x_BLD, layout, mask_BL = layers.assemble(batch)
        x_BLD, mask_BL, _ = layers.inside(x_BLD, layout, mask_BL)
        tables = []
        for block in layers.across:
            assert isinstance(block, Block | GatedBlock)
            context_BC = context_of(x_BLD, layout, mask_BL, len(layers.groups))
            tables.append(block.attention_mass(x_BLD, layout, mask_BL, context_BC))
            x_BLD = block(x_BLD, layout, mask_BL, context_BC)
        num_groups = len(layers.groups)
        return torch.stack(tables) if tables else torch.zeros(0, num_groups, num_groups)

    def describe(self) -> dict[str, Any]:
        return asdict(self.config)

    @classmethod
    def build(cls, description: Mapping[str, Any], tasks: Sequence[TaskSpec]) -> OmniModel:
        description = dict(description)
        description |= {name: tuple(description.get(name, ())) for name in ("modalities", "ignores")}
        return cls(ModelConfig(**description), tasks)
