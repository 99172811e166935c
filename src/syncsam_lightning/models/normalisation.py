"""How SAM and its relatives scale pixels before they encode them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from syncsam_lightning.geometry import Fit, image_origins

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


class SAMNormalisation(nn.Module):
    """Subtracts SAM's mean and divides by its standard deviation; padding becomes zero.

    Has no weights: the constants are not part of a state dict.

    Args:
        side: S of the model's square in pixels.
        fit: how an image lies in it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, side: int, fit: Fit) -> None:
        super().__init__()
        self.side, self.fit = side, fit
        for name, values in (("mean", PIXEL_MEAN), ("std", PIXEL_STD)):
            self.register_buffer(name, torch.tensor(values).reshape(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> Tensor:
        """Normalise images.

        Args:
            images: ``(B, 3, S, S)`` RGB in 0..255, uint8 or float.
            sizes: ``(B, 2)`` int64, height and width of the image part of each square; None: the
                images fill it.

        Returns:
            ``(B, 3, S, S)`` in the dtype of the constants.
        """
        images = (images.to(self.mean.dtype) - self.mean) / self.std
        if sizes is None:
            return images
        return images.masked_fill(~self._inside(sizes.to(images.device)), 0.0)

    def _inside(self, sizes: Tensor) -> Tensor:
        """Return ``(B, 1, S, S)`` bool, true where the images are."""
        pixels = torch.arange(self.side, device=sizes.device)
        begins = image_origins(sizes, self.side, self.fit)
        (top, left), (bottom, right) = (
            corner.unsqueeze(-1).unbind(1) for corner in (begins, begins + sizes)
        )
        rows = (pixels >= top) & (pixels < bottom)
        columns = (pixels >= left) & (pixels < right)
        return (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1)
