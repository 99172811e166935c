from __future__ import annotations

import pytest
import torch

from syncsam_lightning.models import ScribblePromptSAM
from syncsam_lightning.models.normalisation import PIXEL_MEAN, PIXEL_STD
from syncsam_lightning.prompts import Prompts

SMALL = {"image_size": 64, "vit_width": 32, "vit_depth": 4, "vit_heads": 2, "window_size": 3}


@pytest.fixture
def model() -> ScribblePromptSAM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ScribblePromptSAM(**SMALL).eval()


def test_the_encoder_sees_the_image_s_grey_range_as_0_to_255_normalised_as_sam_does(model):
    images = torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)
    images[0, :, 0, 0], images[0, :, 0, 1] = 50, 150
    seen = []
    model.image_encoder.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    model.encode(images)
    mean, std = torch.tensor(PIXEL_MEAN), torch.tensor(PIXEL_STD)
    for column, level in ((0, 0.0), (1, 255.0), (2, 127.5)):
        torch.testing.assert_close(seen[0][0, :, 0, column], (level - mean) / std)


def test_contrast_and_brightness_of_an_image_do_not_matter(model):
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 255
    with torch.no_grad():
        expected = model.encode(images).embedding
        found = model.encode(images * 0.5 + 20).embedding
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_every_prompt_gets_the_best_of_three_masks(model, images):
    prompts = Prompts(
        torch.tensor([0]),
        points=torch.tensor([[[3.0, 4.0], [20, 30], [50, 9]]]),
        point_labels=torch.tensor([[1, 1, 0]]),
    )
    with torch.no_grad():
        features = model.encode(images)
        found, all_masks = model.decode(features, prompts), model.candidates(features, prompts)
    best = 1 + all_masks.predicted_iou[0, 1:].argmax()
    assert found[0].equal(all_masks.logits[0, best])


def test_the_decoder_alone_is_trained_unless_told_otherwise(model):
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"mask_decoder"}
    everything = ScribblePromptSAM(frozen=(), **SMALL)
    assert all(p.requires_grad for p in everything.image_encoder.parameters())
