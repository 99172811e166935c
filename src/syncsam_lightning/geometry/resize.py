"""From original pixels to the model's padded square and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_GRID = 2**20  # parts of a pixel to which model points are rounded


@dataclass(frozen=True, slots=True)
class ResizePlan:
    """How an image of ``height`` × ``width`` lies in a square of side ``size``.

    The long side is resized to ``size``, the short side keeps the aspect ratio (rounded half up,
    at least one pixel), and the rest is padded at the bottom and right (SAM's rule).

    Points name pixels, so their centres are mapped: ``(x + 0.5) * scale - 0.5``. Boxes are half
    open, so their edges are mapped: ``x * scale``.

    Raises:
        ValueError: a side is smaller than one pixel.
    """

    height: int
    width: int
    size: int

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.size) < 1:
            raise ValueError(f"sizes must be positive, got {self}")

    @property
    def resized(self) -> tuple[int, int]:
        """Height and width of the image inside the square."""
        scale = self.size / max(self.height, self.width)
        return (
            max(1, int(self.height * scale + 0.5)),
            max(1, int(self.width * scale + 0.5)),
        )

    def _scale(self, like: Tensor) -> Tensor:
        height, width = self.resized
        return torch.tensor(
            [width / self.width, height / self.height], dtype=torch.float64, device=like.device
        )

    def points_to_model(self, points: Tensor) -> Tensor:
        """Map ``(..., 2)`` x, y from original pixels to float32 model pixels.

        The result is a multiple of 2**-20 pixels.
        """
        exact = (points.double() + 0.5) * self._scale(points) - 0.5
        # Near 0 the subtraction leaves rounding errors that a float32 would keep: what went to
        # original pixels and back would not be what it was.
        return ((exact * _GRID).round() / _GRID).float()

    def points_to_original(self, points: Tensor) -> Tensor:
        """Map ``(..., 2)`` x, y from model pixels to float64 original pixels.

        Double precision, so that :meth:`points_to_model` gives the very same float32 values back,
        if they name pixels (whole numbers) or came from it.
        """
        return (points.double() + 0.5) / self._scale(points) - 0.5

    def boxes_to_model(self, boxes: Tensor) -> Tensor:
        """Map ``(..., 4)`` x0, y0, x1, y1 from original pixels to float32 model pixels."""
        return (boxes.double() * self._scale(boxes).repeat(2)).float()

    def boxes_to_original(self, boxes: Tensor) -> Tensor:
        """Map ``(..., 4)`` x0, y0, x1, y1 from model pixels to float64 original pixels.

        :meth:`boxes_to_model` gives the very same float32 values back.
        """
        return boxes.double() / self._scale(boxes).repeat(2)

    def logits_to_original(self, logits: Tensor) -> Tensor:
        """Bring mask logits back to the image.

        Args:
            logits: ``(N, s, s)``, any resolution of the whole square (the model's are S/4).

        Returns:
            ``(N, height, width)`` float32: bilinear to the square, padding cropped, bilinear to the
            original size (SAM's post-processing).
        """
        height, width = self.resized
        square = F.interpolate(
            logits[:, None].float(), (self.size, self.size), mode="bilinear", align_corners=False
        )
        cropped = square[..., :height, :width]
        if (height, width) == (self.height, self.width):
            return cropped[:, 0]
        return F.interpolate(
            cropped, (self.height, self.width), mode="bilinear", align_corners=False
        )[:, 0]
