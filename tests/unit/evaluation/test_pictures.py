"""Pictures show what was asked, what is true and what was answered."""

import numpy as np
import pytest
import torch

from syncsam_lightning.evaluation.pictures import COLUMNS, draw_panels, stack_panels

SIDE = 128


@pytest.fixture
def panels(make_batch, evaluate):
    def build(name="box", *, limit=9, **kwargs):
        batch = make_batch(**kwargs)
        return draw_panels(batch, evaluate(batch, name), limit=limit, side=SIDE)

    return build


def column(panel, name, shown=64):
    """The part of a column that shows an image of the given width; the first one's by default."""
    width = panel.pixels.shape[2] // 4
    start = COLUMNS.index(name) * width
    return panel.pixels[:, :, start : start + min(SIDE, shown)]


def test_a_panel_has_four_columns_as_high_as_the_image(panels):
    first, _, third = panels()
    assert tuple(first.pixels.shape) == (3, 128, 4 * (SIDE + 2))
    assert tuple(third.pixels.shape) == (3, 64, 4 * (SIDE + 2))
    assert (column(first, "image") == 90).all()
    assert (column(third, "image", shown=128) == 90).all()
    assert first.pixels.dtype == torch.uint8


def test_captions_name_protocol_class_score_and_image(panels):
    assert panels()[1].caption.startswith("box  triangle  DSC 0.")
    assert panels()[2].caption.endswith("second")


def test_truth_is_painted_where_it_is_and_nowhere_else(panels):
    first = panels()[0]
    image, truth = column(first, "image"), column(first, "truth")
    changed = (image != truth).any(0)
    expected = torch.zeros(128, 64, dtype=torch.bool)
    expected[32:64, 16:48] = True
    assert torch.equal(changed, expected)


def test_the_prediction_of_a_box_filler_covers_the_box(panels):
    first = panels()[0]
    changed = (column(first, "image") != column(first, "prediction")).any(0)
    assert changed[36:60, 20:44].all()
    assert not changed[:30].any()
    assert not changed[66:].any()


@pytest.mark.parametrize("name", ["box", "1pt", "5pts"])
def test_the_prompt_is_drawn(panels, name):
    for panel in panels(name):
        image, prompt = (column(panel, part, shown=SIDE) for part in ("image", "prompt"))
        assert not torch.equal(image, prompt)


def test_no_more_than_asked_for_are_drawn_and_none_that_only_fill_up(panels):
    assert len(panels(limit=1)) == 1
    assert len(panels(limit=0)) == 0
    assert len(panels(second_is_valid=False)) == 2


def test_what_is_drawn_is_spread_over_the_batch(panels):
    everything = [panel.caption for panel in panels(limit=9)]
    assert [panel.caption for panel in panels(limit=1)] == everything[1:2]
    assert [panel.caption for panel in panels(limit=2)] == [everything[0], everything[2]]


def test_a_stack_holds_portrait_and_landscape_images(panels):
    drawn = panels()
    picture = stack_panels(drawn)
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (4 * (SIDE + 2), 3)
    assert picture.shape[0] > sum(p.pixels.shape[1] for p in drawn)


def test_panels_of_different_width_are_stacked_too(panels, make_batch, evaluate):
    batch = make_batch()
    narrow = draw_panels(batch, evaluate(batch), limit=1, side=64)
    assert stack_panels([*narrow, *panels()]).shape[1] == 4 * (SIDE + 2)
