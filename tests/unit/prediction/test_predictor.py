from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from syncsam_lightning.errors import (
    BrokenInputError,
    InvalidImageError,
    InvalidPromptError,
    UnsupportedPromptError,
)
from syncsam_lightning.geometry import ResizePlan, packed_masks
from syncsam_lightning.prediction import Predictor, encoding
from syncsam_lightning.prediction.answer import prediction_of
from syncsam_lightning.prediction.predictor import DeviceError, NoImageError

SIDE = 64  # of the model's square


@pytest.fixture
def ready(predictor: Predictor, square: np.ndarray) -> Predictor:
    predictor.set_image(square)
    return predictor


def truth(square: np.ndarray) -> np.ndarray:
    return square > 100


def test_a_box_in_original_pixels_gives_a_mask_of_the_original_size(
    ready: Predictor, square: np.ndarray
):
    masks, scores, low_res = ready.predict(box=[18, 8, 42, 22])
    assert (masks.shape, masks.dtype) == ((1, 40, 80), np.bool_)
    assert (scores.shape, low_res.shape) == ((1,), (1, 64, 64))
    overlap = (masks[0] & truth(square)).sum() / (masks[0] | truth(square)).sum()
    assert overlap > 0.85  # the square has 64 pixels for the image's 80


def test_a_box_cuts_where_it_says(ready: Predictor):
    (mask,), _, _ = ready.predict(box=[20, 10, 30, 20])
    rows, columns = np.nonzero(mask)
    assert (columns.min(), columns.max()) == (20, 29)
    assert (rows.min(), rows.max()) == (10, 19)


def test_several_boxes_are_answered_in_their_order(ready: Predictor):
    both = ready.predict(box=[[20, 10, 30, 20], [50, 10, 60, 20]])
    assert len(both) == 2
    assert both.masks[0].any()
    assert not both.masks[1].any()
    np.testing.assert_array_equal(both.masks[0], ready.predict(box=[20, 10, 30, 20]).masks[0])
    assert both.scores[1] == 0


def test_the_image_is_encoded_once(ready: Predictor, square: np.ndarray):
    for _ in range(3):
        ready.predict(box=[18, 8, 42, 22])
    assert ready.model.encoded == 1
    first = ready.image
    ready.set_image(square[::-1])
    ready.use(first)
    assert ready.model.encoded == 2
    assert ready.image is first


def test_points_of_several_objects(ready: Predictor):
    points = [[[25, 15], [35, 15]], [[22, 12], [0, 0]]]
    prediction = ready.predict(points, [[1, 0], [1, -1]])
    assert prediction.masks.shape == (2, 40, 80)
    assert not prediction.masks[0, 15, 35]
    assert prediction.masks[1, 15, 35]
    fewer, more = ready.model.asked[-2:]  # padding is not shown
    assert fewer.point_labels.tolist() == [[1]]
    assert more.point_labels.tolist() == [[1, 0]]
    # Centres are mapped: (25 + 0.5) * 64 / 80 - 0.5.
    assert more.points[0, 0].tolist() == pytest.approx([19.9, 11.9], abs=1e-5)


def test_the_order_of_arguments_is_that_of_sam():
    import inspect

    ours = list(inspect.signature(Predictor.predict).parameters)[:5]
    sams = list(inspect.signature(SamPredictor.predict).parameters)[:5]
    assert sams == ["self", "point_coords", "point_labels", "box", "mask_input"]
    assert ours == ["self", "points", "labels", "box", "mask"]


def test_points_without_labels_are_on_the_object(ready: Predictor):
    ready.predict(points=[[25, 15]])
    assert ready.model.asked[-1].point_labels.tolist() == [[1]]


def test_an_answer_may_be_given_back(ready: Predictor):
    first = ready.predict(box=[18, 8, 42, 22])
    ready.predict(points=[[25, 15]], mask=first.low_res_logits)
    np.testing.assert_array_equal(ready.model.asked[-1].mask_logits, first.low_res_logits)


def test_a_mask_in_original_pixels_becomes_logits_in_its_place(ready: Predictor):
    drawn = np.zeros((40, 80), bool)
    drawn[:, 40:] = True
    ready.predict(mask=drawn)
    shown = ready.model.asked[-1].mask_logits[0]
    assert (shown[:32, 32:] == 8).all()
    assert (shown[:32, :32] == -8).all()
    assert (shown[32:] == -8).all()  # the padding


def test_feedback_through_a_sigmoid(bright, square: np.ndarray):
    predictor = Predictor(bright(), device="cpu", feedback="sigmoid")
    predictor.set_image(square)
    first = predictor.predict(box=[18, 8, 42, 22])
    predictor.predict(points=[[25, 15]], mask=first.low_res_logits)
    expected = torch.from_numpy(first.low_res_logits).sigmoid()
    assert predictor.model.asked[-1].mask_logits.equal(expected)


def test_logits_at_the_original_size_have_the_sign_of_the_mask(ready: Predictor):
    prediction = ready.predict(box=[[18, 8, 42, 22], [0, 0, 80, 40]])
    logits = prediction.logits()
    assert logits.dtype == np.float32
    np.testing.assert_array_equal(logits > 0, prediction.masks)


def test_many_objects_are_the_same_as_one_at_a_time(ready: Predictor):
    boxes = [[x, 5, x + 20, 30] for x in range(40)]
    together = ready.predict(box=boxes)
    for number in (0, 17, 39):
        np.testing.assert_array_equal(
            together.masks[number], ready.predict(box=boxes[number]).masks[0]
        )


def test_a_click_corrects_and_undo_takes_it_back(ready: Predictor):
    first = ready.predict(box=[18, 8, 42, 22])
    second = ready.click([[30, 15]], [0])
    assert first.masks[0, 15, 30]
    assert not second.masks[0, 15, 30]
    undone = ready.undo()
    assert undone is not None
    np.testing.assert_array_equal(undone.masks, first.masks)
    np.testing.assert_array_equal(ready.redo().masks, second.masks)
    ready.undo()
    assert ready.undo() is None


def test_a_path_and_its_pixels_are_the_same(
    predictor: Predictor, square_file: Path, square: np.ndarray
):
    predictor.set_image(square_file)
    by_path = predictor.predict(box=[18, 8, 42, 22])
    predictor.set_image(square)
    np.testing.assert_array_equal(by_path.masks, predictor.predict(box=[18, 8, 42, 22]).masks)


def test_a_new_image_forgets_what_was_said(ready: Predictor, square: np.ndarray):
    ready.predict(box=[18, 8, 42, 22])
    ready.set_image(square)
    with pytest.raises(InvalidPromptError, match="nothing to undo"):
        ready.undo()
    ready.reset_image()
    assert not ready.is_image_set
    with pytest.raises(NoImageError, match="set_image"):
        ready.predict(box=[18, 8, 42, 22])


@pytest.mark.parametrize("image", ["no/such.png", np.zeros((3, 40, 80), np.uint8)])
def test_an_image_that_cannot_be_used_leaves_none(ready: Predictor, image: str | np.ndarray):
    with pytest.raises((BrokenInputError, InvalidImageError)):
        ready.set_image(image)
    with pytest.raises(NoImageError, match="set_image"):
        ready.predict(box=[18, 8, 42, 22])


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({}, "no prompt"),
        ({"box": [1, 2, 3]}, r"\(N, 4\)"),
        ({"box": [0, 0, 81, 10]}, "81.*80 wide and 40 high"),
        ({"box": [5, 5, 5, 10]}, "empty"),
        ({"box": [np.nan, 0, 5, 5]}, "no number"),
        ({"box": ["a", 0, 5, 5]}, "other than numbers"),
        ({"box": []}, r"\(N, 4\)"),
        ({"points": [[80, 10]]}, "x goes from 0 to 79"),
        ({"points": [[-1, 10]]}, "outside"),
        ({"points": [[10, 10]], "labels": [2]}, "got 2"),
        ({"points": [[10, 10]], "labels": [0.5]}, "labels are"),
        ({"points": [[10, 10]], "labels": [1, 0]}, "one for each point"),
        ({"points": [[[1, 1]], [[2, 2], [3, 3]]]}, "filled up with any point of label -1"),
        ({"points": [np.ones((1, 2)), np.ones((2, 2))]}, "points holds rows of different lengths"),
        ({"points": [np.ones((2, 2)), np.ones((2, 3))]}, "a point x, y"),
        ({"points": np.ones((2, 2, 2)), "labels": [[1], [1, 0]]}, "labels holds rows of different"),
        ({"box": [[1, 1, 5, 5], [1, 1, 5]]}, "a box is x0, y0, x1, y1"),
        ({"labels": [1]}, "go together"),
        ({"points": [10, 10]}, r"\(N, P, 2\)"),
        ({"box": [[0, 0, 5, 5]] * 2, "points": [[1, 1]]}, "fit together"),
        ({"mask": np.zeros((3, 3), bool)}, "size of the image"),
        ({"mask": np.zeros((3, 3))}, "low_res_logits"),
        ({"mask": np.zeros((64, 64), np.uint8)}, "uint8"),
        ({"mask": np.full((64, 64), np.nan)}, "finite"),
    ],
)
def test_a_prompt_that_makes_no_sense_is_explained_and_changes_nothing(
    ready: Predictor, prompts: dict[str, object], message: str
):
    ready.predict(box=[18, 8, 42, 22])
    with pytest.raises(InvalidPromptError, match=message):
        ready.predict(**prompts)
    assert len(ready.session.history) == 1


def test_what_the_model_does_not_take_is_refused(bright, square: np.ndarray):
    predictor = Predictor(bright(prompts=("boxes",)), device="cpu")
    predictor.set_image(square)
    with pytest.raises(UnsupportedPromptError, match="points"):
        predictor.predict(points=[[1, 1]])
    assert predictor.session.history == ()


def test_a_model_without_masks_is_clicked_without_its_last_answer(bright, square: np.ndarray):
    predictor = Predictor(bright(prompts=("boxes", "points")), device="cpu")
    predictor.set_image(square)
    predictor.predict(box=[18, 8, 42, 22])
    predictor.click([[30, 15]], [0])
    assert predictor.model.asked[-1].mask_logits is None


def test_an_image_of_another_model_is_refused(ready: Predictor, bright):
    with pytest.raises(ValueError, match="another model"):
        Predictor(bright(), device="cpu").use(ready.image)


def test_what_is_no_image_is_refused(predictor: Predictor):
    with pytest.raises(InvalidImageError, match="channels come last"):
        predictor.set_image(np.zeros((3, 40, 80), np.uint8))


@pytest.mark.parametrize("fit", ["pad", "stretch", "center"])
@pytest.mark.parametrize("shape", [(40, 80), (90, 30), (20, 30)])
def test_a_mask_lies_where_its_box_lies_however_the_image_fits(bright, fit: str, shape):
    from dataclasses import replace

    model = bright()
    model.input_spec = replace(model.input_spec, fit=fit)
    predictor = Predictor(model, device="cpu")
    pixels = np.full(shape, 10, np.uint8)
    pixels[5:15, 8:22] = 240
    predictor.set_image(pixels)
    (mask,), _, _ = predictor.predict(box=[8, 5, 22, 15])
    expected = pixels > 100
    assert (mask & expected).sum() / (mask | expected).sum() > 0.7


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there_is_named(bright, device: str):
    with pytest.raises(DeviceError, match=f"device '{device}'"):
        Predictor(bright(), device=device)


@pytest.mark.parametrize("pixels", [1, 5 * (40 * 80 + SIDE**2)])
def test_objects_in_parts_are_answered_as_all_together(
    ready: Predictor, pixels: int, monkeypatch: pytest.MonkeyPatch
):
    boxes = [[x, 8, x + 20, 22] for x in range(1, 40, 3)]
    mask = np.zeros((len(boxes), 40, 80), bool)
    mask[:, 10:20, 25:30] = True
    together = ready.predict(box=boxes, mask=mask)
    monkeypatch.setattr(packed_masks, "PIXELS_AT_ONCE", pixels)
    monkeypatch.setattr(encoding, "DECODED_AT_ONCE", 4 * SIDE**2)
    ready.model.asked.clear()
    parts = ready.predict(box=boxes, mask=mask)
    assert [asked.num_objects for asked in ready.model.asked] == [4, 4, 4, 1]
    for ours, theirs in zip(parts, together, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_score_of_an_object_is_worked_out_by_hand_and_counts_wide_images():
    """Of 40,000 pixels in a row, half lie above 1 and all above -1."""
    plan = ResizePlan(2, 40_000, 64, "stretch")
    logits = torch.full((3, 64, 64), 0.5)
    logits[0, :, :32] = 5
    logits[2] = -5
    wide = prediction_of(logits, plan)
    # Between the two halves 5 and 0.5 are interpolated over a cell of 625 pixels.
    assert wide.scores[0] == pytest.approx(0.5, abs=0.01)
    assert wide.scores.tolist()[1:] == [0, 0]
