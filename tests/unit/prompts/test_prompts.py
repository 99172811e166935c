from __future__ import annotations

import pytest
import torch

from syncsam_lightning.prompts import Prompts, Targets

INDEX = torch.tensor([0, 1, 1])


def full_prompts():
    return Prompts(
        INDEX,
        boxes=torch.arange(12.0).reshape(3, 4),
        points=torch.arange(12.0).reshape(3, 2, 2),
        point_labels=torch.tensor([[1, 0], [1, -1], [0, 0]]),
        mask_logits=torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0)),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_index": torch.zeros(3, 1)}, r"image_index must be \(N,\), got \(3, 1\)"),
        ({"boxes": torch.zeros(2, 4)}, r"boxes must be \(3, 4\), got \(2, 4\)"),
        ({"points": torch.zeros(3, 1, 2)}, "points and point_labels must be given together"),
        ({"point_labels": torch.zeros(3, 1)}, "points and point_labels must be given together"),
        (
            {"points": torch.zeros(3, 2), "point_labels": torch.zeros(3, 1)},
            r"points must be \(3, P, 2\), got \(3, 2\)",
        ),
        (
            {"points": torch.zeros(3, 2, 2), "point_labels": torch.zeros(3, 1)},
            r"point_labels must be \(3, 2\), got \(3, 1\)",
        ),
        ({"mask_logits": torch.zeros(3, 1, 4, 4)}, r"mask_logits must be \(3, S/4, S/4\), got"),
    ],
)
def test_prompts_of_a_wrong_shape_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Prompts(**{"image_index": INDEX, **arguments})


def test_kinds_and_counts_say_what_is_there():
    everything, nothing = full_prompts(), Prompts(INDEX)
    assert everything.kinds == {"boxes", "points", "masks"}
    assert (everything.num_objects, everything.num_points) == (3, 2)
    assert nothing.kinds == frozenset()
    assert (nothing.num_objects, nothing.num_points) == (3, 0)


@pytest.mark.parametrize(
    "index", [slice(1, 3), torch.tensor([1, 2]), torch.tensor([False, True, True])]
)
def test_some_of_the_objects_keep_all_their_prompts(index):
    prompts = full_prompts()
    part = prompts[index]
    assert part.num_objects == 2
    for name in ("image_index", "boxes", "points", "point_labels", "mask_logits"):
        assert getattr(part, name).equal(getattr(prompts, name)[1:])
    assert Prompts(INDEX)[index].boxes is None


def test_moving_to_a_device_moves_every_tensor():
    moved = full_prompts().to("meta")
    for name in ("image_index", "boxes", "points", "point_labels", "mask_logits"):
        assert getattr(moved, name).device.type == "meta"
    assert Prompts(INDEX).to("meta").points is None


def make_targets(n_boxes: int = 3) -> Targets:
    return Targets(
        masks=torch.ones(3, 4, 4, dtype=torch.bool),
        boxes=torch.zeros(n_boxes, 4),
        image_index=INDEX,
        keys=torch.arange(3),
        sizes=torch.tensor([[4, 4], [4, 3]]),
    )


def test_targets_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"boxes must hold 3 objects, got \(2, 4\)"):
        make_targets(n_boxes=2)


def test_targets_move_as_a_whole():
    moved = make_targets().to("meta")
    for name in ("masks", "boxes", "image_index", "keys", "sizes"):
        assert getattr(moved, name).device.type == "meta"
    assert moved.num_objects == 3
