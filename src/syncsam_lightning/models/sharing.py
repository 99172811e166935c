"""What several objects of one image have in common."""

from __future__ import annotations

import torch
from torch import Tensor


def of_each_object(per_image: Tensor, image_index: Tensor) -> Tensor:
    """Repeat what is known of an image for each of its objects.

    The gradient adds up the objects of an image in the same order in every run, so that equal
    seeds give equal weights: torch's backward of indexing adds them in any order on several
    threads of a CPU, and that of ``index_select`` on a GPU.

    Args:
        per_image: ``(B, ...)``.
        image_index: ``(N,)`` int64, in [0, B).

    Returns:
        ``(N, ...)``, in the memory format of ``per_image``.
    """
    if per_image.device.type != "cpu":
        return per_image[image_index]
    if per_image.dim() == 4 and per_image.is_contiguous(memory_format=torch.channels_last):
        rows = per_image.permute(0, 2, 3, 1).index_select(0, image_index)
        return rows.permute(0, 3, 1, 2)
    return per_image.index_select(0, image_index)
