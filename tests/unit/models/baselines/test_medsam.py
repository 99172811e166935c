from __future__ import annotations

import pytest
import torch

from syncsam_lightning.errors import UnsupportedPromptError
from syncsam_lightning.models import MedSAM
from syncsam_lightning.models.baselines.medsam import RangeNormalisation
from syncsam_lightning.prompts import Prompts

VIT = {"image_size": 64, "vit_width": 32, "vit_depth": 4, "vit_heads": 2, "window_size": 3}
INDEX = torch.zeros(1, dtype=torch.long)


def test_each_image_is_brought_to_0_to_1_by_its_own_range():
    images = torch.full((2, 3, 2, 2), 60, dtype=torch.uint8)
    images[0, 0, 0, 0], images[0, 2, 1, 1] = 50, 100
    images[1, 1, 0, 1] = 255
    found = RangeNormalisation()(images)
    assert found.dtype == torch.float32
    assert found[0, :, 0, 1].tolist() == pytest.approx([0.2] * 3)  # one range for all channels
    assert (found[0].min(), found[0].max()) == (0, 1)
    assert found[1, 1, 0, 1] == 1
    assert found[1].sum() == 1


def test_a_constant_image_becomes_black():
    assert not RangeNormalisation()(torch.full((1, 3, 4, 4), 7.0)).any()


@pytest.mark.parametrize(
    "prompts",
    [
        {"points": torch.zeros(1, 1, 2), "point_labels": torch.ones(1, 1, dtype=torch.long)},
        {"boxes": torch.zeros(1, 4), "mask_logits": torch.zeros(1, 16, 16)},
    ],
)
def test_anything_but_a_box_is_refused(prompts):
    model = MedSAM(**VIT)
    features = model.encode(torch.zeros(1, 3, 64, 64))
    with pytest.raises(UnsupportedPromptError, match=r"MedSAM does not take .*; it takes boxes"):
        model.decode(features, Prompts(INDEX, **prompts))


def test_encoder_and_decoder_are_trained_and_the_prompt_encoder_is_not():
    parts = {name.split(".")[0] for name, p in MedSAM(**VIT).named_parameters() if p.requires_grad}
    assert parts == {"image_encoder", "mask_decoder"}


def test_images_are_stretched():
    assert MedSAM(**VIT).input_spec.plan(10, 500).resized == (64, 64)
