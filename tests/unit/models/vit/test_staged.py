from __future__ import annotations

from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT

from syncsam_lightning.models.syncsam.encoder import sam_neck
from syncsam_lightning.models.vit import StagedViT, ViTShape


def test_the_stages_in_a_row_give_what_sam_s_encoder_gives():
    torch.manual_seed(0)
    sam = ImageEncoderViT(
        img_size=64,
        embed_dim=32,
        depth=8,
        num_heads=2,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=3,
        global_attn_indexes=(1, 3, 5, 7),
    )
    for parameter in sam.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    vit = StagedViT(ViTShape(image_size=64, vit_width=32, vit_depth=8, vit_heads=2, window_size=3))
    neck = sam_neck(32)
    state = sam.state_dict()
    neck.load_state_dict({k[5:]: v for k, v in state.items() if k.startswith("neck.")})
    vit.load_state_dict({k: v for k, v in state.items() if not k.startswith("neck.")})
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(neck(vit(images).permute(0, 3, 1, 2)), sam(images))


def test_the_last_block_of_each_stage_is_global():
    vit = StagedViT(ViTShape(image_size=32, vit_width=8, vit_heads=2))
    assert [i for i, block in enumerate(vit.blocks) if block.window_size == 0] == [2, 5, 8, 11]
