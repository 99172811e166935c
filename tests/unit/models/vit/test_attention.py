"""The attention that skips padding gives SAM's numbers: outputs and every gradient."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling.image_encoder import Block
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from syncsam_lightning.models.vit import ViTBlock
from syncsam_lightning.models.vit.attention import WindowAttention

WIDTH, HEADS = 16, 2
# Height and width of the grid, side of the windows: padded on both sides, on one, on none; windows
# larger than the grid; more than one whole window beside the padded ones.
GRIDS = [(16, 16, 14), (5, 7, 3), (6, 4, 3), (6, 6, 3), (4, 2, 5), (9, 11, 4)]


def pair(grid_size: int, window: int) -> tuple[Block, ViTBlock]:
    """SAM's block and ours with equal weights, all of them far from zero."""
    torch.manual_seed(0)
    sam = Block(
        WIDTH, HEADS, use_rel_pos=True, window_size=window, input_size=(grid_size, grid_size)
    )
    for norm in (sam.norm1, sam.norm2):
        norm.eps = 1e-6
    for parameter in sam.parameters():
        nn.init.normal_(parameter, std=0.5)
    ours = ViTBlock(WIDTH, HEADS, grid_size=grid_size, window_size=window)
    ours.load_state_dict(sam.state_dict())
    return sam, ours


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


def outputs_and_gradients(
    block: nn.Module, tokens: torch.Tensor, direction: torch.Tensor
) -> dict[str, torch.Tensor]:
    tokens = tokens.clone().requires_grad_()
    out = block(tokens)
    out.backward(direction)
    found = {"output": out.detach(), "input": tokens.grad}
    return found | {name: parameter.grad for name, parameter in block.named_parameters()}


@pytest.mark.parametrize(("height", "width", "window"), GRIDS)
def test_windows_agree_with_sam(height, width, window):
    sam, ours = pair(max(height, width), window)
    tokens, direction = torch.randn(2, 2, height, width, WIDTH).unbind()
    expected = outputs_and_gradients(sam, tokens, direction)
    found = outputs_and_gradients(ours, tokens, direction)
    assert found.keys() == expected.keys()
    assert relative_error(found["output"], expected["output"]) < 1e-5
    for name in expected:
        assert relative_error(found[name], expected[name]) < 1e-4, name


def test_attention_over_the_whole_grid_agrees_with_sam():
    sam, ours = pair(6, 0)
    tokens, direction = torch.randn(2, 2, 6, 6, WIDTH).unbind()
    expected = outputs_and_gradients(sam, tokens, direction)
    found = outputs_and_gradients(ours, tokens, direction)
    for name in expected:
        assert relative_error(found[name], expected[name]) < 1e-5, name


def test_a_table_of_another_size_is_interpolated_as_in_sam():
    sam, _ = pair(4, 0)
    ours = WindowAttention(WIDTH, HEADS, 6)
    ours.rel_pos_h, ours.rel_pos_w = sam.attn.rel_pos_h, sam.attn.rel_pos_w
    ours.qkv, ours.proj = sam.attn.qkv, sam.attn.proj
    tokens = torch.randn(1, 6, 6, WIDTH)
    torch.testing.assert_close(ours(tokens), sam.attn(tokens))


def test_scores_of_padding_neither_overflow_nor_vanish():
    sam, ours = pair(5, 3)
    with torch.no_grad():
        for block in (sam, ours):
            block.attn.rel_pos_h.mul_(100)
            block.attn.rel_pos_w.mul_(100)
    tokens = torch.randn(1, 5, 5, WIDTH)
    torch.testing.assert_close(ours(tokens), sam(tokens))


def test_in_bfloat16_it_is_as_near_to_float32_as_sam_is():
    sam, ours = pair(16, 14)
    tokens = torch.randn(2, 16, 16, WIDTH)
    exact = sam(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        errors = [relative_error(block(tokens).float(), exact) for block in (ours, sam)]
    assert errors[0] < 1.2 * errors[1]


def test_no_padded_token_is_projected():
    class Rows(TorchDispatchMode):
        """Notes how many rows each product with the weights has."""

        def __init__(self) -> None:
            super().__init__()
            self.seen: list[int] = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten.addmm.default:
                self.seen.append(args[1].shape[0])
            return func(*args, **(kwargs or {}))

    _, ours = pair(16, 14)
    with Rows() as rows:
        ours(torch.randn(2, 16, 16, WIDTH))
    assert rows.seen == [2 * 16 * 16] * 4  # qkv, projection and the two layers of the MLP


@pytest.mark.parametrize("frozen", [False, True])
def test_only_a_trained_block_keeps_what_gradients_of_weights_need(frozen):
    _, ours = pair(16, 14)
    ours.requires_grad_(not frozen)
    kept: list[torch.Tensor] = []
    tokens = torch.randn(1, 16, 16, WIDTH, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        out = ours(tokens)
    # What GELU gives, as the last layer of the MLP takes it: needed for that layer's weight alone.
    activated = [t for t in kept if t.shape == (16 * 16, 4 * WIDTH)]
    assert len(activated) == (0 if frozen else 1)
    out.sum().backward()
    assert all((parameter.grad is None) == frozen for parameter in ours.parameters())
