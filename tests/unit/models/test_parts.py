from __future__ import annotations

import pytest
import torch

from syncsam_lightning.models.parts import decode_in_parts
from syncsam_lightning.prompts import Prompts


@pytest.mark.parametrize(
    ("objects", "gradients", "sizes"),
    [(5, False, [2, 2, 1]), (2, False, [2]), (0, False, [0]), (5, True, [5])],
)
def test_objects_keep_their_order_and_only_without_gradients_they_are_parted(
    objects, gradients, sizes
):
    seen = []

    def decode(prompts: Prompts) -> torch.Tensor:
        seen.append(prompts.num_objects)
        return prompts.boxes[:, :1, None]

    boxes = torch.arange(4.0 * objects).reshape(objects, 4)
    prompts = Prompts(torch.zeros(objects, dtype=torch.long), boxes=boxes)
    with torch.set_grad_enabled(gradients):
        found = decode_in_parts(decode, prompts, at_once=2)
    assert found.equal(boxes[:, :1, None])
    assert seen == sizes
