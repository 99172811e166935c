"""The synchronised dual-branch encoder (paper, section 2): F = encoder(I)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from syncsam_lightning.models.promptable import ImageFeatures
from syncsam_lightning.models.syncsam.adapters import bridge, embedding_encoder, stage_adapter
from syncsam_lightning.models.syncsam.architecture import EMBED_DIM, Architecture
from syncsam_lightning.models.syncsam.cnn import STAGE_STRIDES, ResNetStages
from syncsam_lightning.models.syncsam.norm import LayerNorm2d
from syncsam_lightning.models.vit import NUM_STAGES, StagedViT


class DualBranchEncoder(nn.Module):
    """A ViT and a CNN that run through their four stages together, then SAM's neck.

    ``fusion="synchronized"``: in each stage the CNN's map, brought to the ViT's shape, is added to
    the tokens between the windowed blocks and the global one. ``"single_step"``: the sum of all
    four is added once, before the neck. Without a ViT the running sum of the four stands where the
    tokens would be; without a CNN nothing is added.

    A branch that the architecture leaves out is None.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        width = architecture.vit_width
        self.fuses_each_stage = architecture.fusion == "synchronized"
        self.vit: StagedViT | None = None
        if architecture.has_vit:
            self.vit = StagedViT(architecture, recomputes="vit" in architecture.recompute)
        self.cnn: ResNetStages | None = None
        self.adapters: nn.ModuleList | None = None
        if architecture.has_cnn:
            self.cnn = ResNetStages(architecture.cnn, recomputes="cnn" in architecture.recompute)
            self.adapters = nn.ModuleList(
                stage_adapter(channels, stride, width)
                for channels, stride in zip(self.cnn.channels, STAGE_STRIDES, strict=True)
            )
        self.neck = sam_neck(width)
        self.bridges: nn.ModuleList | None = None
        self.embedding_encoder: nn.Sequential | None = None
        if architecture.multi_scale:
            # The last stage has none: it reaches the decoder through the neck.
            self.bridges = nn.ModuleList(bridge(width) for _ in range(NUM_STAGES - 1))
            self.embedding_encoder = embedding_encoder()
        for part in (self.cnn, self.adapters, self.neck, self.bridges, self.embedding_encoder):
            if part is not None:
                part.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> ImageFeatures:
        """Encode normalised images ``(B, 3, S, S)``."""
        additions = self._cnn_tokens(images)
        stages = self._stage_outputs(images, additions)
        last = stages[-1]
        if additions and not self.fuses_each_stage:
            last = last + torch.stack(additions).sum(0)
        embedding: Tensor = self.neck(last.permute(0, 3, 1, 2))
        return ImageFeatures(embedding, self._multi_scale(stages, embedding))

    def _cnn_tokens(self, images: Tensor) -> list[Tensor]:
        """Return the adapted map of each CNN stage as tokens ``(B, S/16, S/16, C)``."""
        if self.cnn is None or self.adapters is None:
            return []
        # Convolutions are faster with channels last, on CPUs and on GPUs, and tokens are so anyway.
        images = images.contiguous(memory_format=torch.channels_last)
        return [
            adapter(stage_map).permute(0, 2, 3, 1)
            for adapter, stage_map in zip(self.adapters, self.cnn(images), strict=True)
        ]

    def _stage_outputs(self, images: Tensor, additions: list[Tensor]) -> list[Tensor]:
        """Return the tokens after each of the four stages."""
        if self.vit is None:
            return list(torch.stack(additions).cumsum(0))
        outputs = []
        tokens = self.vit.embed(images)
        for stage in range(NUM_STAGES):
            tokens = self.vit.windowed_blocks(stage, tokens)
            if additions and self.fuses_each_stage:
                tokens = tokens + additions[stage]
            tokens = self.vit.global_block(stage, tokens)
            outputs.append(tokens)
        return outputs

    def _multi_scale(self, stages: list[Tensor], embedding: Tensor) -> Tensor | None:
        """Return F̃ ``(B, 32, S/4, S/4)``: the sum of the bridged stages and the embedding."""
        if self.bridges is None or self.embedding_encoder is None:
            return None
        total: Tensor = self.embedding_encoder(embedding)
        for bridge_to_decoder, tokens in zip(self.bridges, stages[:-1], strict=True):
            total = total + bridge_to_decoder(tokens.permute(0, 3, 1, 2))
        return total


def sam_neck(width: int, embed_dim: int = EMBED_DIM) -> nn.Sequential:
    """Return SAM's neck, ``(B, width, h, w)`` to ``(B, embed_dim, h, w)``, with SAM's names."""
    return nn.Sequential(
        nn.Conv2d(width, embed_dim, 1, bias=False),
        LayerNorm2d(embed_dim),
        nn.Conv2d(embed_dim, embed_dim, 3, padding=1, bias=False),
        LayerNorm2d(embed_dim),
    )
