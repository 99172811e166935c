from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

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


@pytest.fixture(scope="session")
def sam_state() -> dict[str, torch.Tensor]:
    """The state dict of a SAM at 1024 pixels whose ViT is as narrow as the small SyncSAM's."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        sam = Sam(
            ImageEncoderViT(
                img_size=1024,
                embed_dim=32,
                depth=8,
                num_heads=2,
                norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
                use_rel_pos=True,
                window_size=3,
                global_attn_indexes=(1, 3, 5, 7),
            ),
            PromptEncoder(256, (64, 64), (1024, 1024), 16),
            MaskDecoder(
                transformer_dim=256,
                transformer=TwoWayTransformer(
                    depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8
                ),
            ),
        )
        state = sam.state_dict()
        return {key: torch.randn(value.shape) for key, value in state.items()}
