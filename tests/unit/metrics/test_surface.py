"""Distances of outlines that are known by hand."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from scipy import ndimage

from syncsam_lightning.errors import MissingPackageError
from syncsam_lightning.metrics import SurfaceMetrics


def rectangles(*spans, height=40, width=60):
    masks = torch.zeros(len(spans), height, width, dtype=torch.bool)
    for mask, (y0, x0, y1, x1) in zip(masks, spans, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def test_a_shifted_square_is_as_far_as_it_was_shifted():
    truth, prediction = rectangles((5, 5, 25, 25)), rectangles((5, 8, 25, 28))
    (found,) = SurfaceMetrics(tolerance=2)(prediction, truth)
    assert found.hd95 == 3
    # Of the 76 outline pixels of each, those on the sides that moved are 3 away, but for the two
    # nearest to each corner; the others lie on or beside the other outline.
    assert 0 < found.nsd < 1
    (wide,) = SurfaceMetrics(tolerance=3)(prediction, truth)
    assert wide.nsd == 1


def test_equal_masks_are_at_no_distance_even_at_the_border_of_the_image():
    masks = rectangles((0, 0, 40, 60), (0, 10, 9, 60), (3, 3, 4, 4))
    for found in SurfaceMetrics(tolerance=0)(masks, masks.clone()):
        assert (found.hd95, found.nsd) == (0, 1)


def test_empty_masks_agree_and_one_empty_mask_is_the_worst_that_the_image_allows():
    empty, some = rectangles((0, 0, 0, 0)), rectangles((5, 5, 9, 9))
    measure = SurfaceMetrics()
    (both,), (first,), (second,) = (
        measure(*pair) for pair in ((empty, empty), (empty, some), (some, empty))
    )
    assert (both.hd95, both.nsd) == (0, 1)
    assert first == second
    assert (first.hd95, first.nsd) == (math.hypot(40, 60), 0)


def test_random_masks_agree_with_distance_maps(blobs):
    # The definition once more, by distance maps of the whole image.
    truth, prediction = blobs(12, seed=0), blobs(12, seed=1)
    for found, p, t in zip(SurfaceMetrics(2)(prediction, truth), prediction, truth, strict=True):
        outlines = [m.numpy() & ~ndimage.binary_erosion(m.numpy()) for m in (p, t)]
        away = [ndimage.distance_transform_edt(~outline) for outline in outlines]
        distances = [away[1][outlines[0]], away[0][outlines[1]]]
        assert found.hd95 == pytest.approx(max(np.quantile(d, 0.95) for d in distances), rel=1e-6)
        assert found.nsd == pytest.approx((np.concatenate(distances) <= 2).mean())


def test_threads_change_nothing(monkeypatch, blobs):
    truth, prediction = blobs(6, seed=0), blobs(6, seed=1)
    measure = SurfaceMetrics()
    together = measure(prediction, truth)
    monkeypatch.setattr("syncsam_lightning.metrics.surface._num_threads", lambda: 1)
    assert measure(prediction, truth) == together
    assert measure(prediction[:0], truth[:0]) == []


def test_a_negative_tolerance_is_refused():
    with pytest.raises(ValueError, match=r"must be 0 or more pixels, got -1"):
        SurfaceMetrics(-1)


def test_without_monai_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai.metrics.utils", None)
    with pytest.raises(MissingPackageError, match=r"install syncsam-lightning\[surface\]"):
        SurfaceMetrics()
