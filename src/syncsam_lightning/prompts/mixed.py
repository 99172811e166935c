"""Prompts of which every object has kinds of its own, in the form that SAM's ONNX decoders take.

In :class:`~syncsam_lightning.prompts.Prompts` all objects of a batch have the same kinds. Here a
box is two points with labels of their own and a flag says who has a mask, so that one set of
tensors, always the same, holds any prompts: what a graph without branches needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from syncsam_lightning.prompts.prompts import PADDING, Prompts

FIRST_CORNER = 2
"""Label of a point that is the upper left corner of a box (SAM's number)."""
LAST_CORNER = 3
"""Label of a point that is the lower right corner of a box (SAM's number)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedPrompts(Prompts):
    """Prompts for N objects, each of its own kinds.

    ``points`` and ``point_labels`` hold clicks, and boxes as two points (x0, y0) and (x1, y1) of
    the labels 2 and 3 after the clicks; an object with clicks and no box has a point of label -1 in
    the last place (SAM's rule). ``mask_logits`` are there for all objects, and ignored where
    ``has_mask`` is false; ``boxes`` is None.

    Args:
        has_mask: ``(N,)`` bool, which objects have a previous answer.

    Raises:
        ValueError: a tensor is missing or has the wrong shape.
    """

    has_mask: Tensor

    def __post_init__(self) -> None:
        Prompts.__post_init__(self)
        if self.boxes is not None:
            raise ValueError("boxes of mixed prompts are points with the labels 2 and 3")
        if self.points is None or self.mask_logits is None:
            raise ValueError("mixed prompts need points, point_labels and mask_logits")
        if self.has_mask.shape != self.image_index.shape:
            raise ValueError(
                f"has_mask must be {tuple(self.image_index.shape)}, "
                f"got {tuple(self.has_mask.shape)}"
            )

    @classmethod
    def of(cls, prompts: Prompts, mask_size: int) -> MixedPrompts:
        """Say the same in this form.

        Args:
            prompts: of any kinds.
            mask_size: side of the model's mask logits, for objects without a mask.
        """
        count, device = prompts.num_objects, prompts.image_index.device
        points = torch.zeros(count, 0, 2, device=device)
        labels = torch.zeros(count, 0, dtype=torch.int64, device=device)
        if prompts.points is not None and prompts.point_labels is not None:
            points, labels = prompts.points.float(), prompts.point_labels
        if prompts.boxes is not None:
            points = torch.cat([points, prompts.boxes.float().reshape(-1, 2, 2)], dim=1)
            labels = F.pad(labels, (0, 1), value=FIRST_CORNER)
            labels = F.pad(labels, (0, 1), value=LAST_CORNER)
        elif prompts.points is not None:
            points, labels = F.pad(points, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=PADDING)
        has_mask = prompts.mask_logits is not None
        masks = prompts.mask_logits
        if masks is None:
            masks = torch.zeros(count, mask_size, mask_size, device=device)
        return cls(
            image_index=prompts.image_index,
            points=points,
            point_labels=labels,
            mask_logits=masks,
            has_mask=torch.full((count,), has_mask, device=device),
        )

    def separate(self) -> Prompts:
        """Return boxes, clicks and masks apart; where an object lacks one, it is empty.

        An empty box is ``(0, 0, 0, 0)``, an empty mask is zero, and the place of a corner among the
        points is padding. Only models that draw their prompts take these for nothing.
        """
        assert self.points is not None
        assert self.point_labels is not None
        assert self.mask_logits is not None
        corners = [
            torch.where((self.point_labels == label)[..., None], self.points, 0.0).sum(1)
            for label in (FIRST_CORNER, LAST_CORNER)
        ]
        clicks = torch.where(self.point_labels >= FIRST_CORNER, PADDING, self.point_labels)
        return Prompts(
            image_index=self.image_index,
            boxes=torch.cat(corners, dim=1),
            points=self.points,
            point_labels=clicks,
            mask_logits=torch.where(self.has_mask[:, None, None], self.mask_logits, 0.0),
        )

    @property
    def count_given(self) -> Tensor:
        """``(N,)`` int64: how many clicks, boxes and masks each object has."""
        assert self.point_labels is not None
        # Of a box, its first corner stands for both.
        counted = (self.point_labels != PADDING) & (self.point_labels != LAST_CORNER)
        return counted.sum(1) + self.has_mask

    def _map(self, change: Callable[[Tensor], Tensor]) -> MixedPrompts:
        assert self.points is not None
        assert self.point_labels is not None
        assert self.mask_logits is not None
        return MixedPrompts(
            image_index=change(self.image_index),
            points=change(self.points),
            point_labels=change(self.point_labels),
            mask_logits=change(self.mask_logits),
            has_mask=change(self.has_mask),
        )
