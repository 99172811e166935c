from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from syncsam_lightning.models import SyncSAM
from syncsam_lightning.prompts import Prompts

SIDE = 64
SMALL = {
    "cnn": "resnet18",
    "image_size": SIDE,
    "vit_width": 32,
    "vit_depth": 8,
    "vit_heads": 2,
    "window_size": 3,  # does not divide the grid of 4, so windows are padded as in the full model
}


@pytest.fixture
def build() -> Callable[..., SyncSAM]:
    """Build a small SyncSAM, the same one each time."""

    def build_small(**changes: object) -> SyncSAM:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return SyncSAM(**{**SMALL, **changes})

    return build_small


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def prompts() -> Prompts:
    """Every kind of prompt for three objects: two on image 1, one on image 0."""
    generator = torch.Generator().manual_seed(2)
    return Prompts(
        image_index=torch.tensor([1, 0, 1]),
        boxes=torch.tensor([[0.0, 0, 64, 64], [3, 5, 20, 60], [10, 10, 11, 11]]),
        points=torch.tensor([[[0.0, 0], [63, 63]], [[7, 9], [30, 2]], [[10, 10], [0, 0]]]),
        point_labels=torch.tensor([[1, 0], [1, 1], [1, -1]]),
        mask_logits=torch.randn(3, 16, 16, generator=generator),
    )
