"""An answer does not depend on the company in which an image or object is computed."""

import pytest
import torch

from syncsam_lightning.evaluation.even_parts import OBJECTS_AT_ONCE, decode_evenly, encode_evenly
from syncsam_lightning.models import SyncSAM
from syncsam_lightning.prompts import Prompts

SIZE = OBJECTS_AT_ONCE["cpu"]


class Sensitive:
    """Answers with the number of objects that it was asked about at once, and who they are."""

    def __init__(self):
        self.sizes = []

    def decode(self, features, prompts):
        self.sizes.append(prompts.num_objects)
        return prompts.boxes[:, :1, None] + prompts.num_objects * 1000


def boxes(count):
    return Prompts(
        torch.zeros(count, dtype=torch.int64), boxes=torch.arange(count)[:, None] * torch.ones(4)
    )


@pytest.mark.parametrize("count", [1, SIZE, SIZE + 1, 3 * SIZE])
def test_all_parts_have_one_size_and_answers_their_order(count):
    model = Sensitive()
    answers = decode_evenly(model, None, boxes(count))
    assert set(model.sizes) == {SIZE}
    assert answers.shape == (count, 1, 1)
    assert answers.flatten().equal(torch.arange(count) + 1000.0 * SIZE)


def test_no_objects_give_no_answers():
    assert decode_evenly(Sensitive(), None, boxes(0)).shape == (0, 1, 1)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return SyncSAM(
        cnn="resnet18", image_size=64, vit_width=32, vit_depth=4, vit_heads=2, window_size=3
    ).eval()


@torch.no_grad()
def test_a_network_encodes_bit_for_bit_the_same_in_any_company(network):
    images, sizes = (
        torch.randint(0, 256, (3, 3, 64, 64)),
        torch.tensor([[64, 64], [64, 9], [7, 64]]),
    )
    together = encode_evenly(network, images, sizes)
    for mine in (slice(0, 1), slice(1, 3), slice(0, 2)):
        alone = encode_evenly(network, images[mine], sizes[mine])
        assert alone.embedding.equal(together.embedding[mine])
        assert alone.multi_scale.equal(together.multi_scale[mine])


def test_a_network_answers_bit_for_bit_the_same_in_any_company(network):
    index = torch.tensor([0, 1, 1, 2, 2, 2, 2])
    prompts = Prompts(
        index,
        points=torch.rand(7, 3, 2) * 63,
        point_labels=torch.ones(7, 3, dtype=torch.int64),
        mask_logits=torch.randn(7, 16, 16),
    )
    with torch.no_grad():
        features = network.encode(torch.randint(0, 256, (3, 3, 64, 64)))
        together = decode_evenly(network, features, prompts)
        for mine in (slice(0, 1), slice(1, 3), slice(3, 7)):
            assert decode_evenly(network, features, prompts[mine]).equal(together[mine])
