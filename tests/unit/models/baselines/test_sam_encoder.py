"""SAM's image encoder of our blocks: the names, numbers and memory layout that it shall have."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from syncsam_lightning.models import SAM, IMISNet, SAMMed2D, SyncSAM
from syncsam_lightning.models.baselines.sam_encoder import SAMImageEncoder
from syncsam_lightning.models.vit import ViTShape

VIT = {"image_size": 64, "vit_width": 32, "vit_depth": 4, "vit_heads": 2, "window_size": 3}


@pytest.fixture
def pair() -> tuple[ImageEncoderViT, SAMImageEncoder]:
    """The package's encoder and ours with equal weights, all of them far from zero."""
    torch.manual_seed(0)
    theirs = ImageEncoderViT(
        img_size=64,
        embed_dim=32,
        depth=4,
        num_heads=2,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=3,
        global_attn_indexes=(0, 1, 2, 3),
    )
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.2)
    ours = SAMImageEncoder(ViTShape(**VIT))
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def test_its_tensors_have_the_names_of_the_package_in_the_same_order(pair):
    theirs, ours = pair
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_its_numbers_and_gradients_are_those_of_the_package(pair):
    images = torch.randn(2, 3, 64, 64)
    found = []
    for encoder in pair:
        out = encoder(images)
        out.square().sum().backward()
        found.append([out.detach(), *(p.grad for p in encoder.parameters())])
    for theirs, ours in zip(*found, strict=True):
        assert (ours - theirs).norm() < 1e-5 * theirs.norm()


class Largest(TorchDispatchMode):
    """Notes how many elements the largest tensor has that is computed."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


@pytest.mark.parametrize("model", [SAM, SAMMed2D, IMISNet])
@torch.no_grad()
def test_no_array_of_tokens_by_tokens_is_made(model):
    side, width = 512, 16
    network = model(image_size=side, vit_width=width, vit_depth=4, vit_heads=2).eval()
    tokens = (side // 16) ** 2
    with Largest() as largest:
        network.encode(torch.zeros(1, 3, side, side))
    assert largest.elements < tokens**2


@pytest.mark.parametrize("model", [SAM, SAMMed2D, IMISNet, SyncSAM])
def test_the_neck_lies_in_memory_as_the_tokens_that_it_takes(model):
    for layer in model(**VIT).image_encoder.neck:
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.is_contiguous(memory_format=torch.channels_last)
