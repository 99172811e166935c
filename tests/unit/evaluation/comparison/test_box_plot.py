"""Boxes stand on the quartiles of the masks of their modality."""

from __future__ import annotations

import numpy as np
import pytest

from syncsam_lightning.evaluation.comparison.box_plot import draw_box_plot
from syncsam_lightning.evaluation.comparison.drawings import write_drawings


@pytest.fixture
def scores(paired, rows):
    values = [n / 100 for n in range(101)]
    ct = rows(values, modality="ct")
    mr = rows([0.5], modality="mr", source="B")
    lower = [row | {"dice": row["dice"] / 2} for row in ct + mr]
    return paired(high=ct + mr, low=lower, points=rows([0.1], protocol="1pt"))


def test_boxes_are_quartiles_whiskers_5_to_95_and_dots_means(scores):
    axes = draw_box_plot(scores, "box").axes[0]
    first = axes.patches[0].get_path().vertices[:, 1]
    assert (first.min(), first.max()) == pytest.approx((25, 75))
    ends = np.concatenate([line.get_ydata() for line in axes.lines[:4]])
    assert (ends.min(), ends.max()) == pytest.approx((5, 95))
    dots = [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert dots == pytest.approx([50, 50, 25, 25])


def test_modalities_and_models_are_named_and_one_without_the_protocol_is_not(scores):
    figure = draw_box_plot(scores, "box")
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["ct\n101 masks", "mr\n1 masks"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["high", "low"]


def test_each_protocol_has_its_files(scores, tmp_path):
    names = write_drawings(scores, [], tmp_path / "new")
    assert names == ["modalities_box.png", "modalities_1pt.png"]
    files = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert files == sorted([*names, "modalities_box.pdf", "modalities_1pt.pdf"])
