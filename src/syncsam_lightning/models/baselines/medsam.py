"""MedSAM: SAM fine-tuned for boxes on medical images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from syncsam_lightning.models.baselines.sam import SAM

_SMALLEST_RANGE = 1e-8  # keeps a constant image from a division by zero


class MedSAM(SAM):
    """MedSAM (Ma et al., Nature Communications 2024).

    Takes boxes only, one mask per box. The image encoder and the mask decoder are trained, the
    prompt encoder is not. An image is stretched to the square and its values are brought to [0, 1]
    by its own smallest and largest one; SAM's mean and deviation are not used. The official
    checkpoint has SAM's names.

    Args:
        image_size: side S of the square input in pixels, a multiple of 16.
        vit_width: see :class:`SAM`.
        vit_depth: see :class:`SAM`.
        vit_heads: see :class:`SAM`.
        window_size: see :class:`SAM`.

    Raises:
        ValueError: a value is out of range.
    """

    image_fit = "stretch"
    prompt_kinds = frozenset({"boxes"})

    def __init__(
        self,
        *,
        image_size: int = 1024,
        vit_width: int = 768,
        vit_depth: int = 12,
        vit_heads: int = 12,
        window_size: int = 14,
    ) -> None:
        super().__init__(
            image_size=image_size,
            multimask="never",
            frozen=("prompt_encoder",),
            vit_width=vit_width,
            vit_depth=vit_depth,
            vit_heads=vit_heads,
            window_size=window_size,
        )

    def _build_normalisation(self) -> nn.Module:
        return RangeNormalisation()


class RangeNormalisation(nn.Module):
    """Brings each image to [0, 1] by the smallest and largest value of all its channels."""

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> Tensor:
        """Normalise images.

        Args:
            images: ``(B, 3, S, S)`` RGB in 0..255, uint8 or float, that fill their squares.
            sizes: not needed, since nothing is padded.

        Returns:
            ``(B, 3, S, S)`` in [0, 1], of the dtype of ``images`` if that is a float, else float32.
        """
        values = images if images.is_floating_point() else images.to(torch.float32)
        low, high = values.amin((1, 2, 3), keepdim=True), values.amax((1, 2, 3), keepdim=True)
        return (values - low) / (high - low).clamp(min=_SMALLEST_RANGE)
