"""From original pixels to the model's square and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from syncsam_lightning.geometry.packed_masks import parts_of

Fit = Literal["pad", "stretch", "center"]
"""How an image lies in a model's square of side S. ``"pad"``: its long side is resized to S, the
rest is padded at the bottom and the right (SAM, SyncSAM). ``"stretch"``: both sides are resized to
S whatever the aspect ratio (MedSAM, IMIS-Net, ScribblePrompt). ``"center"``: an image smaller than
S on both sides keeps its size and is padded all round; any other is stretched (SAM-Med2D)."""

_GRID = 2**20  # parts of a pixel to which model points are rounded


@dataclass(frozen=True, slots=True)
class ResizePlan:
    """How an image of ``height`` × ``width`` lies in a square of side ``size``.

    Resized sides are rounded half up and are at least one pixel.

    Points name pixels, so their centres are mapped: ``(x + 0.5) * scale - 0.5``. Boxes are half
    open, so their edges are mapped: ``x * scale``. To both the place of the image is added.

    Raises:
        ValueError: a side is smaller than one pixel, or ``fit`` is unknown.
    """

    height: int
    width: int
    size: int
    fit: Fit = "pad"

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.size) < 1:
            raise ValueError(f"sizes must be positive, got {self}")
        if self.fit not in get_args(Fit):
            raise ValueError(f"fit must be one of {', '.join(get_args(Fit))}, got {self.fit!r}")

    @property
    def resized(self) -> tuple[int, int]:
        """Height and width of the image inside the square."""
        if self.fit == "center" and max(self.height, self.width) < self.size:
            return self.height, self.width
        if self.fit != "pad":
            return self.size, self.size
        scale = self.size / max(self.height, self.width)
        return (
            max(1, int(self.height * scale + 0.5)),
            max(1, int(self.width * scale + 0.5)),
        )

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column in the square of the image's first pixel."""
        if self.fit != "center":
            return 0, 0
        height, width = self.resized
        return (self.size - height) // 2, (self.size - width) // 2

    def _scale(self, like: Tensor) -> Tensor:
        height, width = self.resized
        return torch.tensor(
            [width / self.width, height / self.height], dtype=torch.float64, device=like.device
        )

    def _origin_xy(self, like: Tensor) -> Tensor:
        return torch.tensor(self.origin[::-1], dtype=torch.float64, device=like.device)

    def points_to_model(self, points: Tensor) -> Tensor:
        """Map ``(..., 2)`` x, y from original pixels to float32 model pixels.

        The result is a multiple of 2**-20 pixels.
        """
        exact = (points.double() + 0.5) * self._scale(points) - 0.5 + self._origin_xy(points)
        # Near 0 the subtraction leaves rounding errors that a float32 would keep: what went to
        # original pixels and back would not be what it was.
        return ((exact * _GRID).round() / _GRID).float()

    def points_to_original(self, points: Tensor) -> Tensor:
        """Map ``(..., 2)`` x, y from model pixels to float64 original pixels.

        Double precision, so that :meth:`points_to_model` gives the very same float32 values back,
        if they name pixels (whole numbers) or came from it.
        """
        return (points.double() - self._origin_xy(points) + 0.5) / self._scale(points) - 0.5

    def boxes_to_model(self, boxes: Tensor) -> Tensor:
        """Map ``(..., 4)`` x0, y0, x1, y1 from original pixels to float32 model pixels."""
        scale, origin = self._scale(boxes).repeat(2), self._origin_xy(boxes).repeat(2)
        return (boxes.double() * scale + origin).float()

    def boxes_to_original(self, boxes: Tensor) -> Tensor:
        """Map ``(..., 4)`` x0, y0, x1, y1 from model pixels to float64 original pixels.

        :meth:`boxes_to_model` gives the very same float32 values back, if each is 0 or at least
        2**-20 pixels.
        """
        scale, origin = self._scale(boxes).repeat(2), self._origin_xy(boxes).repeat(2)
        return (boxes.double() - origin) / scale

    def parts(self, count: int) -> Iterator[slice]:
        """Yield objects in parts whose logits :meth:`logits_to_original` makes in bounded memory.

        Each part gives the very numbers that all objects together would.

        Args:
            count: how many objects there are; see :func:`~syncsam_lightning.geometry.parts_of`.
        """
        return parts_of(count, self.height * self.width + self.size**2)

    def logits_to_original(self, logits: Tensor) -> Tensor:
        """Bring mask logits back to the image.

        Makes N · (H · W + S²) floats: where N may be large, ask by :meth:`parts`.

        Args:
            logits: ``(N, s, s)``, any resolution of the whole square (the model's are S/4).

        Returns:
            ``(N, height, width)`` float32: bilinear to the square, padding cropped, bilinear to the
            original size (SAM's post-processing).
        """
        (height, width), (top, left) = self.resized, self.origin
        square = F.interpolate(
            logits[:, None].float(), (self.size, self.size), mode="bilinear", align_corners=False
        )
        cropped = square[..., top : top + height, left : left + width]
        if (height, width) == (self.height, self.width):
            return cropped[:, 0]
        return F.interpolate(
            cropped, (self.height, self.width), mode="bilinear", align_corners=False
        )[:, 0]


def image_origins(sizes: Tensor, side: int, fit: Fit) -> Tensor:
    """Return where images begin in their squares, as :attr:`ResizePlan.origin` does for one.

    Args:
        sizes: ``(..., 2)`` int64, height and width that the images have inside the squares.
        side: S of the squares.
        fit: how the images lie in them.

    Returns:
        ``(..., 2)`` int64, row and column of the first pixel. Where the padding of a centred image
        is odd, the smaller half comes first (SAM-Med2D's rule).
    """
    return (side - sizes) // 2 if fit == "center" else torch.zeros_like(sizes)
