"""Images as ScribblePrompt sees them: grey, each with its whole range."""

from __future__ import annotations

import torch
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow's and OpenCV's conversions to grey


def grey_levels(images: Tensor) -> Tensor:
    """Turn colours into grey, and bring each image's darkest and brightest pixel to 0 and 1.

    Args:
        images: ``(B, 3, S, S)`` RGB in 0..255, any dtype, that fill their squares.

    Returns:
        ``(B, 1, S, S)`` float32 in [0, 1]; zeros for an image of one grey level.
    """
    weights = torch.tensor(_LUMA, device=images.device).reshape(3, 1, 1)
    grey = (images.float() * weights).sum(1, keepdim=True)
    darkest, brightest = grey.amin((1, 2, 3), keepdim=True), grey.amax((1, 2, 3), keepdim=True)
    return torch.where(brightest > darkest, (grey - darkest) / (brightest - darkest), 0.0)
