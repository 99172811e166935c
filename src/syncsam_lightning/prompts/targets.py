"""The objects that a simulated user has in mind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Targets:
    """N true masks on B images, in the model frame (a square of side S).

    Args:
        masks: ``(N, S, S)`` bool; every mask has at least one foreground pixel.
        boxes: ``(N, 4)`` float32, tight half-open ``x0, y0, x1, y1``.
        image_index: ``(N,)`` int64, the image in the batch that each object lies on.
        keys: ``(N,)`` int64 in [0, 2**63), see :func:`syncsam_lightning.seeding.mask_key`; all
            random prompts of an object are a function of its key.
        sizes: ``(B, 2)`` int64, height and width of the part of each square that is image, the
            rest being padding.
        origins: ``(B, 2)`` int64, row and column where that part begins; None: all at 0, 0.

    Raises:
        ValueError: the first dimensions disagree.
    """

    masks: Tensor
    boxes: Tensor
    image_index: Tensor
    keys: Tensor
    sizes: Tensor
    origins: Tensor | None = None

    def __post_init__(self) -> None:
        n = self.image_index.shape[0]
        for name in ("masks", "boxes", "keys"):
            if (value := getattr(self, name)).shape[0] != n:
                raise ValueError(f"{name} must hold {n} objects, got {tuple(value.shape)}")

    @property
    def num_objects(self) -> int:
        """N, the number of objects."""
        return self.image_index.shape[0]

    def image_part(self, image: int) -> tuple[slice, slice]:
        """Return the rows and columns of a square that are image, not padding."""
        height, width = self.sizes[image].tolist()
        top, left = (0, 0) if self.origins is None else self.origins[image].tolist()
        return slice(top, top + height), slice(left, left + width)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Targets:
        """Return the same targets with every tensor on ``device``."""
        return self._map(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Targets:
        """Return the same targets in page-locked memory, for asynchronous copies to a GPU."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Targets:
        return Targets(
            masks=change(self.masks),
            boxes=change(self.boxes),
            image_index=change(self.image_index),
            keys=change(self.keys),
            sizes=change(self.sizes),
            origins=None if self.origins is None else change(self.origins),
        )
