from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import MaskDecoder as SAMMaskDecoder
from segment_anything.modeling import TwoWayTransformer

from syncsam_lightning.models import ImageFeatures
from syncsam_lightning.models.syncsam.decoder import MedTokenDecoder, SAMTokenDecoder
from syncsam_lightning.models.syncsam.transformer import KernelTwoWayTransformer

B, N, T, H = 2, 3, 4, 4
INDEX = torch.tensor([1, 0, 1])


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return {
        "features": ImageFeatures(draw(B, 256, H, H)),
        "image_index": INDEX,
        "sparse": draw(N, T, 256),
        "dense": draw(N, 256, H, H),
        "positions": draw(1, 256, H, H),
    }


def test_sam_s_tokens_give_sam_s_single_mask(inputs):
    torch.manual_seed(0)
    decoder = SAMTokenDecoder().eval()
    sam = SAMMaskDecoder(
        transformer_dim=256,
        transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
    ).eval()
    sam.load_state_dict(decoder.state_dict())
    with torch.no_grad():
        found = decoder(**inputs)
        for i, image in enumerate(INDEX):
            expected, _ = sam(
                image_embeddings=inputs["features"].embedding[image : image + 1],
                image_pe=inputs["positions"],
                sparse_prompt_embeddings=inputs["sparse"][i : i + 1],
                dense_prompt_embeddings=inputs["dense"][i : i + 1],
                multimask_output=False,
            )
            torch.testing.assert_close(found[i], expected[0, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("decoder", [MedTokenDecoder, SAMTokenDecoder])
def test_the_multi_scale_map_is_added_to_the_mask_features(inputs, decoder):
    torch.manual_seed(0)
    decoder = decoder().eval()
    ones = torch.zeros(B, 32, 4 * H, 4 * H)
    ones[1] = 1.0  # image 1 alone, so objects 0 and 2
    with torch.no_grad():
        plain = decoder(**inputs)
        embedding = inputs["features"].embedding
        raised = decoder(**{**inputs, "features": ImageFeatures(embedding, ones)}) - plain
    # Weights · (features + 1) - weights · features: the same number at every pixel of an object.
    torch.testing.assert_close(raised, raised[:, :1, :1].expand_as(raised), rtol=0, atol=1e-5)
    assert raised[1].abs().max() < 1e-5
    assert (raised[[0, 2], 0, 0].abs() > 1e-3).all()


@pytest.mark.parametrize("decoder", [MedTokenDecoder, SAMTokenDecoder])
def test_no_objects_give_no_masks(inputs, decoder):
    none = {name: inputs[name][:0] for name in ("image_index", "sparse", "dense")}
    assert decoder()(**{**inputs, **none}).shape == (0, 4 * H, 4 * H)


def test_summing_kernels_gives_what_summing_channels_gives():
    torch.manual_seed(0)
    decoder = MedTokenDecoder()
    weights, upscaled = torch.randn(N, 32), torch.randn(N, 32, 12, 8)
    found = decoder._weighted_sum(weights, upscaled)
    expected = torch.einsum("nc,nchw->nhw", weights, decoder.mask_features(upscaled))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    direction = torch.randn_like(found)
    parameters = list(decoder.mask_features.parameters())
    gradients = [torch.autograd.grad(out, parameters, direction) for out in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-3)


def test_the_transformer_gives_sam_s_numbers():
    torch.manual_seed(0)
    sam = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    ours = KernelTwoWayTransformer()
    ours.load_state_dict(sam.state_dict())
    arguments = (torch.randn(N, 256, H, H), torch.randn(1, 256, H, H), torch.randn(N, T, 256))
    torch.testing.assert_close(ours(*arguments), sam(*arguments))
