"""Masks of one class on an image can be prompted for and scored as one object."""

from dataclasses import replace

import pytest
import torch

from syncsam_lightning.evaluation.objects import with_first_clicks, with_seed, with_unit
from syncsam_lightning.geometry import PackedMasks
from syncsam_lightning.models import InputSpec


@pytest.fixture
def batch(make_batch):
    """Two "cell"s on the first image, one on the second."""
    batch = make_batch()
    return replace(batch, objects=[replace(entry, label="cell") for entry in batch.objects])


def test_masks_as_they_are_need_no_change(batch, make_batch):
    assert with_unit(batch, "mask") is batch
    assert with_unit(make_batch(), "class").objects == make_batch().objects


def test_masks_of_a_class_are_joined_image_by_image(batch):
    joined = with_unit(batch, "class")
    assert [(entry.mask_id, entry.label) for entry in joined.objects] == [(0, "cell"), (0, "cell")]
    assert joined.targets.image_index.tolist() == [0, 1]
    assert joined.targets.masks[0].equal(batch.targets.masks[:2].any(0))
    assert joined.targets.masks[1].equal(batch.targets.masks[2])
    (first,), (second,) = joined.original_masks
    assert first.equal(batch.original_masks[0][:].any(0))
    assert second.equal(batch.original_masks[1][0])


def test_box_and_area_are_those_of_the_joined_mask(batch):
    bits = batch.original_masks[0].bits
    bits[1] |= bits[0]  # masks may overlap
    joined = with_unit(batch, "class")
    assert joined.original_boxes.tolist() == [[0, 32, 48, 96], [16, 8, 48, 24]]
    assert joined.targets.boxes.tolist() == [[0, 16, 24, 48], [16, 8, 48, 24]]
    assert [entry.area for entry in joined.objects] == [32 * 32 + 32 * 33 // 2, 16 * 32]


def test_joining_twice_is_joining_once(batch):
    joined = with_unit(batch, "class")
    assert with_unit(joined, "class") is joined


def test_an_image_without_objects_stays_without(batch):
    objects = [batch.objects[2]]
    only_second = replace(
        batch,
        targets=replace(
            batch.targets,
            masks=batch.targets.masks[2:].repeat(2, 1, 1),
            boxes=batch.targets.boxes[2:].repeat(2, 1),
            image_index=torch.tensor([1, 1]),
            keys=torch.tensor([1, 2]),
        ),
        objects=objects * 2,
        original_masks=[
            PackedMasks.of(batch.original_masks[0][:0]),
            PackedMasks.of(batch.original_masks[1][:].repeat(2, 1, 1)),
        ],
        original_boxes=batch.original_boxes[2:].repeat(2, 1),
    )
    joined = with_unit(only_second, "class")
    assert [len(masks) for masks in joined.original_masks] == [0, 1]
    assert joined.targets.image_index.tolist() == [1]


def test_a_class_keeps_the_place_of_its_image_in_the_square(batch):
    # Else corrections of a centred image would be looked for in its padding.
    origins = torch.tensor([[0, 16], [16, 0]])
    centred = replace(batch, targets=replace(batch.targets, origins=origins))
    assert with_unit(centred, "class").targets.origins.equal(origins)


def test_keys_are_a_function_of_seed_image_and_mask_alone(batch):
    keys = {seed: with_seed(batch, seed).targets.keys for seed in (0, 1)}
    assert len(set(keys[0].tolist() + keys[1].tolist())) == 6
    assert with_seed(with_seed(batch, 1), 0).targets.keys.equal(keys[0])


def test_a_training_batch_is_refused(make_batch):
    with pytest.raises(ValueError, match="masks at the original resolution: use another loader"):
        with_unit(make_batch(with_original=False), "class")


def test_models_of_every_size_and_fit_meet_the_same_first_click_on_the_original_mask(make_batch):
    batch = make_batch()
    clicks = []
    for size, fit in ((64, "pad"), (32, "stretch"), (256, "center"), (1024, "stretch")):
        spec = InputSpec(size, frozenset({"points"}), size // 4, fit)
        points = with_first_clicks(batch, spec).targets.first_points
        plans = [spec.plan(info.height, info.width) for info in batch.infos]
        images = batch.targets.image_index.tolist()
        pairs = zip(images, points, strict=True)
        clicks.append(torch.stack([plans[image].points_to_original(p) for image, p in pairs]))
    for found in clicks[1:]:
        torch.testing.assert_close(found, clicks[0], atol=1e-4, rtol=0)
    masks = [mask for of_image in batch.original_masks for mask in of_image]
    for mask, (x, y) in zip(masks, clicks[0].round().long().tolist(), strict=True):
        assert mask[y, x]


def test_another_seed_gives_another_first_click(make_batch):
    spec = InputSpec(64, frozenset({"points"}), 16)
    batches = [with_first_clicks(with_seed(make_batch(), seed), spec) for seed in (0, 1)]
    assert not torch.equal(*(batch.targets.first_points for batch in batches))
