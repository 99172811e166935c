from __future__ import annotations

import pytest
import torch
from segment_anything.modeling.common import LayerNorm2d as SAMLayerNorm2d

from syncsam_lightning.models.syncsam.norm import LayerNorm2d


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_it_gives_sam_s_numbers(memory_format):
    torch.manual_seed(0)
    sam, ours = SAMLayerNorm2d(6), LayerNorm2d(6)
    torch.nn.init.normal_(sam.weight)
    torch.nn.init.normal_(sam.bias)
    ours.load_state_dict(sam.state_dict())
    x = torch.randn(2, 6, 5, 3).to(memory_format=memory_format)
    torch.testing.assert_close(ours(x), sam(x))
    assert ours(x).is_contiguous(memory_format=torch.channels_last)
