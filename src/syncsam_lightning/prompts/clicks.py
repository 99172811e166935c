"""Clicks of a simulated user: on an object, or on what a prediction got wrong.

Shapes: N objects, P points per object, S the side of the model's square, B images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from syncsam_lightning.prompts.prompts import FOREGROUND, PADDING
from syncsam_lightning.prompts.purpose import Purpose
from syncsam_lightning.prompts.random import integers


@dataclass(frozen=True, slots=True)
class Clicks:
    """Points with their labels, as :class:`~syncsam_lightning.prompts.Prompts` takes them.

    An object on which there was nothing to click has label -1 (padding) and the point ``0, 0``, so
    that a batch keeps one shape whatever its objects look like.

    Args:
        points: ``(N, P, 2)`` float32 ``x, y``; whole numbers, each naming a pixel.
        labels: ``(N, P)`` int64: 1 foreground, 0 background, -1 padding.
    """

    points: Tensor
    labels: Tensor

    def after(self, points: Tensor | None, labels: Tensor | None) -> Clicks:
        """Return earlier points and labels (or None and None) followed by these clicks."""
        if points is None or labels is None:
            return self
        return Clicks(
            torch.cat([points, self.points], dim=1), torch.cat([labels, self.labels], dim=1)
        )


def foreground_clicks(masks: Tensor, keys: Tensor, *, draw: int, num: int = 1) -> Clicks:
    """Click uniformly on the foreground, with replacement.

    Args:
        masks: ``(N, H, W)`` bool.
        keys: ``(N,)`` int64 keys of the objects.
        draw: number of the draw; another number gives independent clicks.
        num: P, clicks per object.

    Returns:
        Clicks with label 1; on an empty mask, padding (see :class:`Clicks`).
    """
    pixels = _uniform_pixels(masks, keys, Purpose.FOREGROUND_CLICK, draw=draw, num=num)
    labels = torch.full_like(pixels.x, FOREGROUND)
    return pixels.clicks(labels)


def correction_clicks(
    truth: Tensor,
    prediction: Tensor,
    keys: Tensor,
    *,
    draw: int,
    num: int,
    sizes: Tensor | None = None,
    image_index: Tensor | None = None,
    origins: Tensor | None = None,
) -> Clicks:
    """Click uniformly, with replacement, where truth and prediction differ.

    The rule of SAM-Med2D and IMIS-Bench, except that an object without an error gets padding at
    ``0, 0`` instead of a random pixel, and that nobody clicks on the padding of an image.

    Args:
        truth: ``(N, H, W)`` bool.
        prediction: ``(N, H, W)`` bool.
        keys: ``(N,)`` int64 keys of the objects.
        draw: number of the draw; another number gives independent clicks.
        num: P, clicks per object.
        sizes: ``(B, 2)`` height and width of the part of each square that is image; None: all.
        image_index: ``(N,)`` the image of each object. Given exactly when ``sizes`` is.
        origins: ``(B, 2)`` row and column where that part begins; None: all at 0, 0.

    Returns:
        Clicks labelled with the truth at their pixel: 1 on missed foreground, 0 on what was marked
        too much. An object without an error gets padding (see :class:`Clicks`).

    Raises:
        ValueError: the shapes differ, or only one of ``sizes`` and ``image_index`` is given.
    """
    if truth.shape != prediction.shape:
        raise ValueError(
            f"truth and prediction must have one shape, got {tuple(truth.shape)} and "
            f"{tuple(prediction.shape)}"
        )
    error = truth ^ prediction
    if sizes is not None and image_index is not None:
        begins = torch.zeros_like(sizes) if origins is None else origins
        error = error & _image_part(begins[image_index], sizes[image_index], error.shape[1:])
    elif sizes is not None or image_index is not None:
        raise ValueError("sizes and image_index must be given together")
    pixels = _uniform_pixels(error, keys, Purpose.CORRECTION_CLICK, draw=draw, num=num)
    objects = torch.arange(truth.shape[0], device=truth.device)[:, None]
    return pixels.clicks(truth[objects, pixels.y, pixels.x].to(torch.int64))


def _image_part(begins: Tensor, sizes: Tensor, shape: Sequence[int]) -> Tensor:
    """Return ``(N, *shape)`` bool, true where the image is: ``(N, 2)`` begins and sizes."""
    rows, columns = (
        (pixels >= begin[:, None]) & (pixels < (begin + size)[:, None])
        for pixels, begin, size in zip(
            [torch.arange(extent, device=sizes.device) for extent in shape],
            begins.unbind(1),
            sizes.unbind(1),
            strict=True,
        )
    )
    return rows[:, :, None] & columns[:, None, :]


@dataclass(frozen=True, slots=True)
class _Pixels:
    """``(N, P)`` int64 coordinates, and ``(N, 1)`` bool: whether the object had any pixel."""

    x: Tensor
    y: Tensor
    exists: Tensor

    def clicks(self, labels: Tensor) -> Clicks:
        points = torch.stack([self.x, self.y], dim=2)
        return Clicks(
            torch.where(self.exists[:, :, None], points, 0).to(torch.float32),
            torch.where(self.exists, labels, PADDING),
        )


def _uniform_pixels(
    regions: Tensor, keys: Tensor, purpose: Purpose, *, draw: int, num: int
) -> _Pixels:
    # The k-th pixel in reading order is found by counts: first its row, then its column within the
    # row. Nothing here waits for the GPU, and no array is larger than the masks themselves.
    n, height, width = regions.shape
    per_row = _row_counts(regions).cumsum(dim=1, dtype=torch.int32)
    total = per_row[:, -1]
    rank = integers(keys, purpose, draw, high=total, num=num).to(torch.int32)
    y = torch.searchsorted(per_row, rank, right=True).clamp(max=height - 1)
    before = torch.where(y > 0, per_row.gather(1, (y - 1).clamp(min=0)), 0)
    objects = torch.arange(n, device=regions.device)[:, None]
    per_column = regions[objects, y].cumsum(dim=2, dtype=torch.int32)
    x = torch.searchsorted(per_column, (rank - before)[:, :, None], right=True)[:, :, 0]
    return _Pixels(x.clamp(max=width - 1), y, (total > 0)[:, None])


def _row_counts(regions: Tensor) -> Tensor:
    """Return ``(N, H)`` int32: the foreground pixels in each row of ``(N, H, W)`` bool regions."""
    width = regions.shape[2]
    if width % 8 or width > 8 * 255:
        return regions.sum(dim=2, dtype=torch.int32)
    # Eight pixels are added at a time: the bytes of a word can't carry over below 256, and a CPU
    # adds whole words some 25 times faster than booleans.
    words = regions.contiguous().view(torch.int64).sum(dim=2, keepdim=True)
    return words.view(torch.uint8).sum(dim=2, dtype=torch.int32)
