"""An object's answer does not depend on the company in which it is decoded."""

import pytest
import torch

from syncsam_lightning.evaluation.decoding import OBJECTS_AT_ONCE, decode_evenly
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


def test_a_network_answers_bit_for_bit_the_same_in_any_company():
    torch.manual_seed(0)
    model = SyncSAM(
        cnn="resnet18", image_size=64, vit_width=32, vit_depth=4, vit_heads=2, window_size=3
    ).eval()
    index = torch.tensor([0, 1, 1, 2, 2, 2, 2])
    prompts = Prompts(
        index,
        points=torch.rand(7, 3, 2) * 63,
        point_labels=torch.ones(7, 3, dtype=torch.int64),
        mask_logits=torch.randn(7, 16, 16),
    )
    with torch.no_grad():
        features = model.encode(torch.randint(0, 256, (3, 3, 64, 64)))
        together = decode_evenly(model, features, prompts)
        for mine in (slice(0, 1), slice(1, 3), slice(3, 7)):
            assert decode_evenly(model, features, prompts[mine]).equal(together[mine])
