"""Connected components of masks."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

_NEIGHBOURS = np.ones((3, 3), bool)


def largest_components(masks: Tensor) -> Tensor:
    """Return the largest connected component of each mask.

    Pixels that touch at a corner belong together (8-connectivity). Of components of one size the
    one whose first pixel in reading order comes first is taken.

    Args:
        masks: ``(N, H, W)`` bool. Computed on the CPU, whatever their device.

    Returns:
        ``(N, H, W)`` bool on the device of ``masks``; an empty mask stays empty.

    Raises:
        ValueError: ``masks`` has not three dimensions.
    """
    if masks.ndim != 3:
        raise ValueError(f"masks must be (N, H, W), got {tuple(masks.shape)}")
    arrays = masks.cpu().numpy()
    largest = np.zeros_like(arrays)
    for target, mask in zip(largest, arrays, strict=True):
        labels, count = ndimage.label(mask, _NEIGHBOURS)
        if count:
            sizes = np.bincount(labels.ravel())[1:]
            target[:] = labels == 1 + sizes.argmax()
    return torch.from_numpy(largest).to(masks.device)
