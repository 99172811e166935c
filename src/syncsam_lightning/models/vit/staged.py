"""SAM's Vision Transformer, cut into stages so that a second branch can join in between."""

from __future__ import annotations

from typing import ClassVar, Literal, cast

import torch
from segment_anything.modeling.common import MLPBlock
from segment_anything.modeling.image_encoder import PatchEmbed
from torch import Tensor, nn

from syncsam_lightning.models.recompute import recomputed
from syncsam_lightning.models.vit.attention import WindowAttention
from syncsam_lightning.models.vit.shape import NUM_STAGES, PATCH_SIZE, ViTShape

_MLP_RATIO = 4


class ViTBlock(nn.Module):
    """A block of SAM's ViT, with SAM's parameter names.

    Args:
        width: C, channels of the tokens.
        num_heads: attention heads.
        grid_size: side of the token grid.
        window_size: side of the windows that it attends within; 0: it attends to the whole grid.
    """

    def __init__(self, width: int, num_heads: int, *, grid_size: int, window_size: int) -> None:
        super().__init__()
        self.window_size = window_size
        self.norm1 = _layer_norm(width)
        self.attn = WindowAttention(width, num_heads, window_size or grid_size)
        self.norm2 = _layer_norm(width)
        self.mlp = MLPBlock(width, _MLP_RATIO * width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens of the same shape, ``(B, H, W, C)``."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return cast(Tensor, tokens + self.mlp(self.norm2(tokens)))


class StagedViT(nn.Module):
    """SAM's image encoder without its neck, in four stages of windowed blocks and a global one.

    Parameter names are those of ``segment_anything``'s ``ImageEncoderViT``. Tokens are
    ``(B, S/16, S/16, C)``, channels last.

    Args:
        shape: its sizes, C being ``vit_width`` and S ``image_size``.
        recomputes: whether the blocks are computed again in the backward pass, to save memory.

    Attributes:
        position_resampling: how ``pos_embed`` is brought to the grid of another image size when a
            checkpoint is loaded; see :func:`resize_position_table`.
    """

    position_resampling: ClassVar[Literal["bilinear", "bicubic"]] = "bilinear"

    def __init__(self, shape: ViTShape, *, recomputes: bool = False) -> None:
        super().__init__()
        width, grid = shape.vit_width, shape.grid_size
        self.blocks_per_stage = shape.blocks_per_stage
        self.recomputes = recomputes
        patch = (PATCH_SIZE, PATCH_SIZE)
        self.patch_embed = PatchEmbed(kernel_size=patch, stride=patch, embed_dim=width)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid, grid, width))
        self.blocks = nn.ModuleList(
            ViTBlock(
                width,
                shape.vit_heads,
                grid_size=grid,
                window_size=0 if self._is_global(i) else shape.window_size,
            )
            for i in range(shape.vit_depth)
        )

    def _is_global(self, index: int) -> bool:
        return (index + 1) % self.blocks_per_stage == 0

    def forward(self, images: Tensor) -> Tensor:
        """Return the tokens of normalised images ``(B, 3, S, S)`` after the last stage."""
        tokens = self.embed(images)
        for stage in range(NUM_STAGES):
            tokens = self.global_block(stage, self.windowed_blocks(stage, tokens))
        return tokens

    def embed(self, images: Tensor) -> Tensor:
        """Turn normalised images ``(B, 3, S, S)`` into tokens with absolute positions."""
        tokens: Tensor = self.patch_embed(images) + self.pos_embed
        return tokens

    def windowed_blocks(self, stage: int, tokens: Tensor) -> Tensor:
        """Run all blocks of a stage (0..3) but its last, which attend within windows."""
        start = stage * self.blocks_per_stage
        for block in self.blocks[start : start + self.blocks_per_stage - 1]:
            tokens = self._run(block, tokens)
        return tokens

    def global_block(self, stage: int, tokens: Tensor) -> Tensor:
        """Run the last block of a stage (0..3), which attends to the whole image."""
        return self._run(self.blocks[(stage + 1) * self.blocks_per_stage - 1], tokens)

    def _run(self, block: nn.Module, tokens: Tensor) -> Tensor:
        return cast(Tensor, recomputed(block, tokens) if self.recomputes else block(tokens))


def _layer_norm(width: int) -> nn.LayerNorm:
    # As in build_sam: the torch default of 1e-5 would not give SAM's numbers.
    return nn.LayerNorm(width, eps=1e-6)
