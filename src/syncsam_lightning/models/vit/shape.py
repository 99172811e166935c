"""How large a ViT is."""

from __future__ import annotations

from dataclasses import dataclass

PATCH_SIZE = 16
NUM_STAGES = 4


@dataclass(frozen=True, slots=True)
class ViTShape:
    """The sizes of SAM's ViT; the defaults are those of a ViT-B.

    Args:
        image_size: side S of the square input in pixels, a multiple of 16.
        vit_width: C, channels of the tokens.
        vit_depth: number of blocks in the four stages together; the last of each is global.
        vit_heads: attention heads of each block.
        window_size: side of the windows of the other blocks, in tokens.

    Raises:
        ValueError: a value is out of range; the message calls it as every model does.
    """

    image_size: int = 256
    vit_width: int = 768
    vit_depth: int = 12
    vit_heads: int = 12
    window_size: int = 14

    def __post_init__(self) -> None:
        if self.image_size < PATCH_SIZE or self.image_size % PATCH_SIZE:
            raise ValueError(
                f"image_size must be a multiple of {PATCH_SIZE}, got {self.image_size}"
            )
        if self.vit_depth < NUM_STAGES or self.vit_depth % NUM_STAGES:
            raise ValueError(f"vit_depth must be a multiple of {NUM_STAGES}, got {self.vit_depth}")
        if self.vit_heads < 1 or self.vit_width < 1 or self.vit_width % self.vit_heads:
            raise ValueError(
                f"vit_width={self.vit_width} must be divisible by vit_heads={self.vit_heads}"
            )
        if self.window_size < 1:
            raise ValueError(f"window_size must be at least 1, got {self.window_size}")

    @property
    def grid_size(self) -> int:
        """Side of the token grid, S / 16."""
        return self.image_size // PATCH_SIZE

    @property
    def blocks_per_stage(self) -> int:
        """Blocks in each of the four stages."""
        return self.vit_depth // NUM_STAGES
