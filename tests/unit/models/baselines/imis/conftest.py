from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from syncsam_lightning.models.baselines import IMISNet

SMALL = {
    "image_size": 64,
    "embed_dim": 32,
    "vit_width": 32,
    "vit_depth": 8,
    "vit_heads": 2,
    "window_size": 3,
}


@pytest.fixture
def build_imis() -> Callable[..., IMISNet]:
    """Build a small IMIS-Net, the same one each time."""

    def build(**changes: object) -> IMISNet:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return IMISNet(**{**SMALL, **changes})

    return build
