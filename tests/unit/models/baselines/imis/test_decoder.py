from __future__ import annotations

import torch

from syncsam_lightning.models.baselines.imis.decoder import IMISMaskDecoder, MaskCandidates


def candidates() -> MaskCandidates:
    generator = torch.Generator().manual_seed(0)
    return MaskCandidates(
        weights=torch.randn(2, 3, 4, generator=generator),
        pixels=torch.randn(2, 4, 5, 5, generator=generator),
        predicted_iou=torch.tensor([[0.1, 0.9, 0.3], [0.2, -0.5, 0.4]]),
    )


def test_the_best_mask_is_that_of_the_highest_predicted_iou_of_each_object():
    masks, best = candidates().all(), candidates().best()
    torch.testing.assert_close(best, torch.stack([masks[0, 1], masks[1, 2]]))


def test_a_mask_is_the_product_of_its_weights_and_the_pixels():
    found = candidates()
    expected = (found.weights[1, 2, :, None, None] * found.pixels[1]).sum(0)
    torch.testing.assert_close(found.all()[1, 2], expected)


def test_all_three_networks_of_masks_get_a_gradient_though_one_mask_is_chosen():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = IMISMaskDecoder(32)
    embedding, dense = torch.randn(1, 32, 2, 2), torch.zeros(1, 32, 2, 2)
    found = decoder(embedding, torch.tensor([0]), torch.randn(1, 2, 32), dense, dense)
    found.best().sum().backward()
    for name, parameter in decoder.named_parameters():
        silent = name.startswith((*decoder.unused_parts, "iou_prediction_head"))
        assert (parameter.grad is None) == silent, name
