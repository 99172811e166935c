"""What a user, real or simulated, tells a model about the objects to segment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FOREGROUND = 1
BACKGROUND = 0
PADDING = -1


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts for N objects that lie on B images, all in one batch.

    The frame is the model's: pixels of the resized and padded square of side S, x to the right, y
    down. A point ``(x, y)`` names the pixel in column x and row y; a box is half open, so that
    ``x1 - x0`` is its width.

    Args:
        image_index: ``(N,)`` int64, the image in the batch that each object lies on.
        boxes: ``(N, 4)`` float ``x0, y0, x1, y1``, or None.
        points: ``(N, P, 2)`` float ``x, y``, or None.
        point_labels: ``(N, P)`` int64: 1 foreground, 0 background, -1 padding. Given exactly when
            ``points`` is. The place of padding is ignored, but for SAM's prompt encoders it is a
            prompt all the same, by SAM's own rule: a token that says "not a point" and changes
            the answer. A simulated user says with it that there is nothing to click on. Objects
            with different numbers of points are answered as each alone by
            :func:`~syncsam_lightning.interaction.decode_unpadded`.
        mask_logits: ``(N, S/4, S/4)`` float, a previous answer of the model, or None.

    Raises:
        ValueError: a tensor has the wrong shape, or ``points`` comes without ``point_labels``.
    """

    image_index: Tensor
    boxes: Tensor | None = None
    points: Tensor | None = None
    point_labels: Tensor | None = None
    mask_logits: Tensor | None = None

    def __post_init__(self) -> None:
        if self.image_index.ndim != 1:
            raise ValueError(f"image_index must be (N,), got {tuple(self.image_index.shape)}")
        n = self.image_index.shape[0]
        if (self.points is None) != (self.point_labels is None):
            raise ValueError("points and point_labels must be given together")
        if self.boxes is not None and self.boxes.shape != (n, 4):
            raise ValueError(f"boxes must be ({n}, 4), got {tuple(self.boxes.shape)}")
        if self.points is not None and self.point_labels is not None:
            if self.points.ndim != 3 or self.points.shape[0] != n or self.points.shape[2] != 2:
                raise ValueError(f"points must be ({n}, P, 2), got {tuple(self.points.shape)}")
            if self.point_labels.shape != self.points.shape[:2]:
                raise ValueError(
                    f"point_labels must be {tuple(self.points.shape[:2])}, "
                    f"got {tuple(self.point_labels.shape)}"
                )
        if self.mask_logits is not None and (
            self.mask_logits.ndim != 3 or self.mask_logits.shape[0] != n
        ):
            raise ValueError(
                f"mask_logits must be ({n}, S/4, S/4), got {tuple(self.mask_logits.shape)}"
            )

    @property
    def num_objects(self) -> int:
        """N, the number of objects."""
        return self.image_index.shape[0]

    @property
    def num_points(self) -> int:
        """P, the number of points per object (padding included)."""
        return 0 if self.points is None else self.points.shape[1]

    @property
    def kinds(self) -> frozenset[str]:
        """Which of ``"boxes"``, ``"points"``, ``"masks"`` are present."""
        present = {
            "boxes": self.boxes is not None,
            "points": self.points is not None,
            "masks": self.mask_logits is not None,
        }
        return frozenset(kind for kind, there in present.items() if there)

    @property
    def count_given(self) -> Tensor:
        """``(N,)`` int64: how many clicks, boxes and masks each object has; padding is none."""
        count = torch.zeros_like(self.image_index)
        if self.point_labels is not None:
            count = count + (self.point_labels != PADDING).sum(1)
        return count + int(self.boxes is not None) + int(self.mask_logits is not None)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Prompts:
        """Return the same prompts with every tensor on ``device``."""
        return self._map(lambda value: value.to(device, non_blocking=non_blocking))

    def __getitem__(self, index: Tensor | slice) -> Prompts:
        """Return the prompts of some of the objects (a slice, an index or a boolean tensor)."""
        return self._map(lambda value: value[index])

    def _map(self, change: Callable[[Tensor], Tensor]) -> Prompts:
        def changed(value: Tensor | None) -> Tensor | None:
            return None if value is None else change(value)

        return Prompts(
            image_index=change(self.image_index),
            boxes=changed(self.boxes),
            points=changed(self.points),
            point_labels=changed(self.point_labels),
            mask_logits=changed(self.mask_logits),
        )
