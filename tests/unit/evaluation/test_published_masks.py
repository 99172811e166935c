"""Masks at the model's size by the rules of SAM-Med2D and IMIS-Bench, beside their libraries."""

from __future__ import annotations

import ast
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage, sparse

from syncsam_lightning.data.batch import ImageBatch, ImageInfo, ObjectInfo
from syncsam_lightning.data.resize import nearest_pixels, put_into, resize_masks
from syncsam_lightning.evaluation.objects import with_mask_rule, with_unit
from syncsam_lightning.geometry import PackedMasks, masks_to_boxes
from syncsam_lightning.interaction import get_protocol, run_rounds
from syncsam_lightning.models import InputSpec
from syncsam_lightning.prompts import Targets

CT_SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "imed361m" / "BTCV" / "label"
RULES = ("nearest_corner", "nearest_center")


def by_library(mask, shape, rule):
    """Resize ``(H, W)`` bool by the library whose rule it is."""
    pixels, size = mask.astype(np.uint8), shape[::-1]
    if rule == "nearest_corner":
        return cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST) > 0
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)) > 0


def evaluation_batch(images, spec):
    """Return a batch of the masks ``(n, H, W)`` of each image, as an evaluation loader gives it."""
    plans = [spec.plan(*masks.shape[1:]) for masks in images]
    squares = torch.zeros(sum(map(len, images)), spec.size, spec.size, dtype=torch.bool)
    fitted = [
        (m, p)
        for masks, p in zip(images, plans, strict=True)
        for m in resize_masks(masks, *p.resized)
    ]
    for square, (mask, plan) in zip(squares.numpy(), fitted, strict=True):
        put_into(square, mask, plan)
    index = torch.arange(len(images)).repeat_interleave(torch.tensor(list(map(len, images))))
    boxes = [masks_to_boxes(torch.from_numpy(masks)) for masks in images]
    return ImageBatch(
        images=torch.zeros(len(images), 3, spec.size, spec.size, dtype=torch.uint8),
        targets=Targets(
            masks=squares,
            boxes=torch.cat([p.boxes_to_model(b) for p, b in zip(plans, boxes, strict=True)]),
            image_index=index,
            keys=torch.arange(len(squares)),
            sizes=torch.tensor([plan.resized for plan in plans]),
            origins=torch.tensor([plan.origin for plan in plans]),
        ),
        infos=[
            ImageInfo(i, str(i), *masks.shape[1:], modality="ct", source="A", case=str(i))
            for i, masks in enumerate(images)
        ],
        objects=[
            ObjectInfo(i, str(i), int(mask.sum()))
            for masks in images
            for i, mask in enumerate(masks)
        ],
        original_masks=[PackedMasks.of(torch.from_numpy(masks)) for masks in images],
        original_boxes=torch.cat(boxes),
    )


@settings(deadline=None, max_examples=300)
@given(st.integers(1, 6000), st.sampled_from([64, 100, 256, 1024]), st.sampled_from(RULES))
def test_the_pixels_of_a_side_are_those_that_the_library_takes(old, new, rule):
    side = np.arange(old, dtype=np.int32)[:, None]
    if rule == "nearest_corner":
        taken = cv2.resize(side.astype(np.float32), (1, new), interpolation=cv2.INTER_NEAREST)
    else:
        taken = np.asarray(Image.fromarray(side).resize((1, new), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(nearest_pixels(old, new, rule), taken[:, 0])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("fit", ["pad", "stretch", "center"])
def test_masks_are_those_of_the_library_in_their_place(rule, fit):
    rng = np.random.default_rng(5)
    spec = InputSpec(64, frozenset({"boxes"}), 16, fit)
    shapes = [(40, 30), (200, 90), (64, 64), (31, 170), (333, 257)]
    images = [rng.random((2, *shape)) < 0.3 for shape in shapes]
    batch = with_mask_rule(evaluation_batch(images, spec), rule, spec)
    expected = torch.zeros_like(batch.targets.masks)
    objects = [(mask, spec.plan(*mask.shape)) for masks in images for mask in masks]
    for square, (mask, plan) in zip(expected.numpy(), objects, strict=True):
        put_into(square, by_library(mask, plan.resized, rule), plan)
    assert batch.targets.masks.equal(expected)


@pytest.mark.parametrize("rule", RULES)
def test_an_object_that_a_rule_loses_keeps_the_mask_by_area(rule):
    spec = InputSpec(64, frozenset({"boxes"}), 16)
    mask = np.zeros((1, 640, 640), bool)
    mask[0, 13, 17] = True
    assert not by_library(mask[0], (64, 64), rule).any()
    batch = evaluation_batch([mask], spec)
    kept = with_mask_rule(batch, rule, spec).targets.masks
    assert kept.equal(batch.targets.masks)
    assert kept.sum() == 1


@pytest.fixture(scope="module")
def ct_masks():
    """The masks of each slice of the CT sample."""
    if not CT_SAMPLE.is_dir():
        pytest.skip("the CT sample is not here")
    images = []
    for path in sorted(CT_SAMPLE.glob("*.npz")):
        shape = ast.literal_eval(path.name.split(".")[-2])
        masks = sparse.load_npz(path).toarray().reshape(shape)[..., 0] > 0
        images.append(masks[masks.any(axis=(1, 2))])
    return images


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("sammed2d-box", InputSpec(256, frozenset({"boxes"}), 64, "center")),
        ("imis-box", InputSpec(1024, frozenset({"boxes"}), 256, "stretch")),
        ("imis-box", InputSpec(256, frozenset({"boxes"}), 64, "stretch")),
    ],
)
def test_masks_and_boxes_of_real_ct_are_those_of_the_published_programs(ct_masks, name, spec):
    protocol = get_protocol(name)
    for masks in ct_masks:
        batch = with_unit(evaluation_batch([masks], spec), protocol.unit)
        batch = with_mask_rule(batch, protocol.mask_rule, spec)
        shape = (spec.size, spec.size)
        expected = np.stack([by_library(mask, shape, protocol.mask_rule) for mask in masks])
        np.testing.assert_array_equal(batch.targets.masks.numpy(), expected)
        turn = next(iter(run_rounds(answer_of(spec), batch.targets, protocol.policy())))
        boxes = [published_box(mask, name) for mask in expected]
        assert turn.prompts.boxes.tolist() == boxes


def answer_of(spec):
    return lambda prompts: torch.zeros(prompts.num_objects, spec.size // 4, spec.size // 4)


def published_box(mask, name):
    """Return x0, y0, x1, y1 as SAM-Med2D's and IMIS-Bench's test programs find it."""
    if name.startswith("sammed2d"):
        labels, _ = ndimage.label(mask, np.ones((3, 3)))
        mask = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    rows, columns = np.nonzero(mask)
    beyond = 1 if name.startswith("sammed2d") else 0
    return [columns.min(), rows.min(), columns.max() + beyond, rows.max() + beyond]
