"""Only masks that all models have count, and nothing is left out in silence."""

from __future__ import annotations

import numpy as np
import pytest

from syncsam_lightning.errors import ComparisonError


def test_scores_meet_whatever_the_order_of_the_rows(paired, rows):
    scores = paired(a=rows([0.1, 0.2, 0.3]), b=rows([0.4, 0.5, 0.6])[::-1])
    assert scores.models == ("a", "b")
    assert scores.masks["image_id"].tolist() == ["i0", "i1", "i2"]
    assert scores.dice.tolist() == [[0.1, 0.4], [0.2, 0.5], [0.3, 0.6]]
    assert scores.notes == ()
    assert len(scores.unpaired) == 0


def test_a_mask_that_one_model_lacks_counts_for_none_and_is_listed(paired, rows):
    scores = paired(a=rows([0.1, 0.2, 0.3]), b=rows([0.4, 0.5]))
    assert scores.dice.tolist() == [[0.1, 0.4], [0.2, 0.5]]
    (lost,) = scores.unpaired.to_dict("records")
    assert (lost["image_id"], lost["protocol"], lost["missing_in"]) == ("i2", "box", "b")
    (note,) = scores.notes
    assert note.startswith("1 of 3 scores are left out")
    assert "1 in " in note
    assert note.endswith("b0/test); unpaired.csv lists them")


def test_a_mask_that_two_models_lack_names_both(paired, rows):
    scores = paired(a=rows([0.1, 0.2]), b=rows([0.4]), c=rows([0.4]))
    assert scores.unpaired["missing_in"].tolist() == ["b, c"]


def test_a_model_without_a_protocol_takes_no_mask_from_the_others(paired, rows):
    points = rows([0.7, 0.8], protocol="1pt")
    scores = paired(medsam=rows([0.1, 0.2]), sam=rows([0.3, 0.4]) + points)
    assert scores.protocols == ("box", "1pt")
    assert len(scores.unpaired) == 0
    of_points = scores.dice[(scores.masks["protocol"] == "1pt").to_numpy()]
    assert np.isnan(of_points[:, 0]).all()
    assert of_points[:, 1].tolist() == [0.7, 0.8]


def test_runs_and_seeds_are_replicates(paired, rows):
    seeds = rows([0.1, 0.2], seed=5) + rows([0.3, 0.4], seed=2)
    scores = paired(a=[seeds, rows([0.5, 0.6])], b=rows([0.7, 0.8]))
    assert [(r.model, r.seed) for r in scores.replicates] == [
        ("a", 2),
        ("a", 5),
        ("a", 0),
        ("b", 0),
    ]
    assert scores.columns_of("a").tolist() == [0, 1, 2]
    assert scores.dice[0].tolist() == [0.3, 0.1, 0.5, 0.7]


def test_images_of_one_id_in_two_data_sets_are_two(paired, rows):
    both = [*rows([0.1], source="A"), *rows([0.2], source="B")]
    assert paired(a=both, b=both).dice.tolist() == [[0.1, 0.1], [0.2, 0.2]]


def test_equal_rows_twice_count_once_and_are_told(paired, rows):
    scores = paired(a=rows([0.1, 0.2]) + rows([0.1]), b=rows([0.3, 0.4]))
    assert scores.dice.tolist() == [[0.1, 0.3], [0.2, 0.4]]
    assert "1 rows are there twice with equal scores" in scores.notes[0]


def test_unequal_rows_twice_are_refused(paired, rows):
    with pytest.raises(ComparisonError, match=r"mask 0 of image i0 \(A, box\) is there twice"):
        paired(a=rows([0.1, 0.2]) + rows([0.9]), b=rows([0.3, 0.4]))


def test_versions_of_a_protocol_must_agree(paired, rows):
    message = r"protocol box has version 1 in .*a0/test but 2 in .*b0/test"
    with pytest.raises(ComparisonError, match=message):
        paired(a=rows([0.1]), b=rows([0.1], version=2))


def test_masks_of_another_size_are_other_masks(paired, rows):
    message = "mask 0 of image i0 .* has area 10 in .* but 11 in .*: measure the models on the same"
    with pytest.raises(ComparisonError, match=message):
        paired(a=rows([0.1]), b=rows([0.1], area=11))


def test_another_class_name_is_told_and_the_first_taken(paired, rows):
    scores = paired(a=rows([0.1, 0.2]), b=rows([0.1, 0.2], label="hepar"))
    assert set(scores.masks["label"]) == {"liver"}
    assert "has label liver in" in scores.notes[0]
    assert "(and 1 more like it)" in scores.notes[0]


def test_a_data_set_that_no_two_models_share_is_told(paired, rows):
    a = rows([0.1, 0.2]) + rows([0.3], source="STS")
    assert paired(a=a, b=rows([0.1, 0.2])).notes[1] == (
        "no mask of source STS is in all models: none is shown"
    )


def test_models_without_a_common_mask_are_refused(paired, rows):
    with pytest.raises(ComparisonError, match="no mask is in all runs"):
        paired(a=rows([0.1], source="A"), b=rows([0.1], source="B"))
