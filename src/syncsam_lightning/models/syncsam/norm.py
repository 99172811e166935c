"""LayerNorm over the channels of a map."""

from __future__ import annotations

import torch.nn.functional as F
from segment_anything.modeling.common import LayerNorm2d as SAMLayerNorm2d
from torch import Tensor


class LayerNorm2d(SAMLayerNorm2d):  # type: ignore[misc]
    """SAM's LayerNorm over channels by torch's own kernel; parameters and numbers are SAM's.

    SAM's formula takes seven passes over the map and keeps five copies of it for the backward pass.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)``; the result lies in memory with its channels last."""
        channels_last = x.permute(0, 2, 3, 1)
        shape = channels_last.shape[-1:]
        return F.layer_norm(channels_last, shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )
