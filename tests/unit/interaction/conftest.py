from __future__ import annotations

import pytest
import torch

from syncsam_lightning.geometry import masks_to_boxes
from syncsam_lightning.prompts import Targets

SIDE = 32


@pytest.fixture
def targets() -> Targets:
    """Five objects on two images: 32 x 24 and 20 x 32 (height x width) in a square of 32."""
    masks = torch.zeros(5, SIDE, SIDE, dtype=torch.bool)
    masks[0, 4:16, 2:14] = True
    masks[1, 20:32, 12:24] = True  # at the corner of its image
    masks[2, 1:3, 30:32] = True
    masks[3, 8:19, 5:29] = True
    masks[4, 3, 3] = True  # one pixel
    return Targets(
        masks=masks,
        boxes=masks_to_boxes(masks),
        image_index=torch.tensor([0, 0, 1, 1, 0]),
        keys=torch.tensor([3, 14, 15, 92, 65]),
        sizes=torch.tensor([[32, 24], [20, 32]]),
    )
