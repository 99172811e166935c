"""Masks as bits, and objects in parts of bounded size."""

import numpy as np
import pytest
import torch

from syncsam_lightning.geometry import PackedMasks, ResizePlan, packed_masks, parts_of


@pytest.fixture
def masks():
    return torch.rand(5, 7, 13, generator=torch.Generator().manual_seed(0)) > 0.5


def test_masks_come_back_bit_for_bit(masks):
    packed = PackedMasks.of(masks)
    assert packed.shape == (5, 7, 13)
    assert packed.bits.shape == (5, 12)  # 91 pixels
    assert packed[:].equal(masks)
    assert packed[1:3].equal(masks[1:3])
    assert packed[3].equal(masks[3])
    assert packed[-1].equal(masks[-1])
    assert torch.stack(list(packed)).equal(masks)


def test_the_first_pixel_is_the_highest_bit():
    masks = torch.zeros(1, 2, 8, dtype=torch.bool)
    masks[0, 0, 0] = masks[0, 1, 6] = True
    assert PackedMasks.of(masks).bits.tolist() == [[0b10000000, 0b00000010]]


def test_an_accelerator_packs_as_a_cpu_does(masks):
    flat = masks.flatten(1)
    bits = packed_masks._packed(flat)
    assert packed_masks._packed_anywhere(flat).equal(bits)
    assert packed_masks._unpacked_anywhere(bits, flat.shape[1]).equal(flat)
    assert packed_masks._unpacked_anywhere(bits[2], flat.shape[1]).equal(flat[2])


def test_no_masks_have_a_size_all_the_same():
    packed = PackedMasks.of(torch.zeros(0, 3, 5, dtype=torch.bool))
    assert packed.shape == (0, 3, 5)
    assert packed[:].shape == (0, 3, 5)
    assert list(packed) == []
    assert list(packed.parts()) == []


def test_parts_are_joined_in_their_order(masks):
    packed = PackedMasks.of(masks)
    parts = [PackedMasks.of(masks[:0]), PackedMasks.of(masks[:2]), PackedMasks.of(masks[2:])]
    assert PackedMasks.joined(parts).bits.equal(packed.bits)
    assert PackedMasks.joined(parts).shape == packed.shape


def test_a_union_is_the_foreground_of_any(masks):
    union = PackedMasks.of(masks).union([0, 3])
    assert union[:].equal((masks[0] | masks[3])[None])


@pytest.mark.parametrize("wrong", [torch.zeros(2, 3, dtype=torch.bool), torch.zeros(1, 2, 3)])
def test_what_is_no_stack_of_bool_masks_is_refused(wrong):
    with pytest.raises(ValueError, match=r"masks must be \(n, H, W\) bool"):
        PackedMasks.of(wrong)


def test_parts_hold_as_many_objects_as_fit_and_at_least_one(monkeypatch):
    monkeypatch.setattr(packed_masks, "PIXELS_AT_ONCE", 100)
    assert list(parts_of(5, 50)) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert list(parts_of(2, 101)) == [slice(0, 1), slice(1, 2)]
    assert list(parts_of(3, 1)) == [slice(0, 3)]
    assert list(parts_of(0, 1)) == []


@pytest.mark.parametrize("fit", ["pad", "stretch", "center"])
def test_logits_in_parts_are_those_of_all_objects_together(monkeypatch, fit):
    plan = ResizePlan(150, 97, 64, fit)
    logits = torch.randn(9, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = plan.logits_to_original(logits)
    for pixels in (1, 3 * (150 * 97 + 64 * 64)):
        monkeypatch.setattr(packed_masks, "PIXELS_AT_ONCE", pixels)
        parts = list(plan.parts(len(logits)))
        assert len(parts) == (9 if pixels == 1 else 3)
        assert torch.cat([plan.logits_to_original(logits[part]) for part in parts]).equal(whole)


def test_other_devices_and_page_locked_memory_hold_the_same_masks(masks):
    moved = PackedMasks.of(masks).to("meta")
    assert moved.bits.device.type == "meta"
    assert moved.shape == (5, 7, 13)
    assert np.asarray(PackedMasks.of(masks).to("cpu")[:]).any()
