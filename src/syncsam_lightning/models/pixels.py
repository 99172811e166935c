"""What every model does with the pixels of a batch before its first layer."""

from __future__ import annotations

import torch
from torch import Tensor

SAM_MEAN = (123.675, 116.28, 103.53)
SAM_STD = (58.395, 57.12, 57.375)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow's and OpenCV's conversions to grey


def check_images(images: Tensor, sizes: Tensor | None, side: int) -> None:
    """Refuse images that a model can't encode.

    Args:
        images: should be ``(B, 3, side, side)``.
        sizes: should be ``(B, 2)`` or None.
        side: S, the side of the model's square input.

    Raises:
        ValueError: one of them has another shape.
    """
    if images.ndim != 4 or images.shape[1:] != (3, side, side):
        raise ValueError(
            f"images must be (B, 3, {side}, {side}), fitted into the model's square of "
            f"image_size {side}; got {tuple(images.shape)}"
        )
    if sizes is not None and sizes.shape != (images.shape[0], 2):
        raise ValueError(
            f"sizes must be ({images.shape[0]}, 2), height and width of each image; "
            f"got {tuple(sizes.shape)}"
        )


def image_part(sizes: Tensor, side: int) -> Tensor:
    """Return ``(B, 1, side, side)`` bool: true on the image, false on the padding.

    Args:
        sizes: ``(B, 2)`` int64, height and width of the image part of each square.
        side: of the squares.
    """
    pixels = torch.arange(side, device=sizes.device)
    heights, widths = sizes.unsqueeze(-1).unbind(1)
    inside = (pixels < heights).unsqueeze(2) & (pixels < widths).unsqueeze(1)
    return inside.unsqueeze(1)


def normalise_as_sam(images: Tensor, sizes: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Subtract SAM's mean and divide by its standard deviation, channel by channel.

    Args:
        images: ``(B, 3, S, S)`` RGB in 0..255, any dtype.
        sizes: see :func:`image_part`; None: the images fill their squares.
        dtype: of the result.

    Returns:
        ``(B, 3, S, S)``, zero on the padding.
    """
    mean, std = (
        torch.tensor(values, dtype=dtype, device=images.device).reshape(3, 1, 1)
        for values in (SAM_MEAN, SAM_STD)
    )
    normalised = (images.to(dtype) - mean) / std
    if sizes is None:
        return normalised
    inside = image_part(sizes.to(images.device), images.shape[-1])
    return normalised.masked_fill(~inside, 0.0)


def grey_levels(images: Tensor, sizes: Tensor | None) -> Tensor:
    """Turn RGB into grey and stretch each image's range to [0, 1].

    The darkest and brightest pixel are those of the image alone, whatever its padding holds. An
    image of one grey level becomes all zeros.

    Args:
        images: ``(B, 3, S, S)`` RGB in 0..255, any dtype.
        sizes: see :func:`image_part`; None: the images fill their squares.

    Returns:
        ``(B, 1, S, S)`` float32 in [0, 1], zero on the padding.
    """
    weights = torch.tensor(LUMA, device=images.device)
    grey = torch.einsum("bchw,c->bhw", images.float(), weights).unsqueeze(1)
    lowest = highest = grey
    if sizes is not None:
        inside = image_part(sizes.to(images.device), images.shape[-1])
        lowest = grey.masked_fill(~inside, torch.inf)
        highest = grey.masked_fill(~inside, -torch.inf)
    darkest = lowest.amin(dim=(1, 2, 3), keepdim=True)
    span = highest.amax(dim=(1, 2, 3), keepdim=True) - darkest
    stretched = torch.where(span > 0, (grey - darkest) / span, 0.0)
    return stretched if sizes is None else stretched.masked_fill(~inside, 0.0)
