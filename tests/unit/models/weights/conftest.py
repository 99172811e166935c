from __future__ import annotations

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
