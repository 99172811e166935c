"""The numbers of a comparison are those of hand calculation."""

from __future__ import annotations

import json

import numpy as np
import pytest

from syncsam_lightning.errors import ComparisonError
from syncsam_lightning.evaluation.comparison.measurements import Settings, measure
from syncsam_lightning.evaluation.comparison.pairing import pair
from syncsam_lightning.evaluation.comparison.results import read_runs

FEW = Settings(resamples=50)


def pick(frame, **where):
    for column, value in where.items():
        frame = frame[frame[column] == value]
    (record,) = frame.to_dict("records")
    return record


def test_mean_and_deviation_over_runs_are_those_by_hand(paired, rows):
    runs = [rows([0.2, 0.4]), rows([0.4, 0.8]), rows([0.9, 0.9])]  # means 0.3, 0.6, 0.9
    frame = measure(paired(a=runs, b=rows([0.1, 0.2])), FEW)
    a = pick(frame, grouping="overall", model="a")
    assert (a["dsc"], a["sd"], a["num_runs"]) == pytest.approx((0.6, 0.3, 3))
    b = pick(frame, grouping="overall", model="b")
    assert (b["dsc"], b["num_runs"]) == pytest.approx((0.15, 1))
    assert np.isnan(b["sd"])


def test_groups_hold_the_masks_of_their_data_set_modality_and_class(paired, rows):
    values = [
        *rows([0.2], source="B", modality="mr", label="liver"),
        *rows([0.4], source="A", modality="ct", label="liver"),
        *rows([0.9], source="A", modality="ct", label="spleen", mask_id=1),
    ]
    frame = measure(paired(a=values), FEW)
    found = [(g, n, round(d, 3), k) for g, n, d, k in zip(
        frame["grouping"], frame["group"], frame["dsc"], frame["num_masks"], strict=True
    )]  # fmt: skip
    assert found == [
        ("overall", "", 0.5, 3),
        ("data set", "A", 0.65, 2),
        ("data set", "B", 0.2, 1),
        ("modality", "ct", 0.65, 2),
        ("modality", "mr", 0.2, 1),
        ("class", "liver", 0.3, 2),
        ("class", "spleen", 0.9, 1),
    ]
    assert pick(frame, grouping="data set", group="A")["num_images"] == 1
    assert pick(frame, grouping="overall")["num_images"] == 2
    assert pick(frame, grouping="overall")["fill_box"] == 0.5


def test_a_protocol_that_averages_over_images_counts_images_alike(write_result):
    values = [
        {"image_id": image, "mask_id": mask, "dice": dice, "fill_box_dice": dice / 2}
        for image, mask, dice in [("x", 0, 0.2), ("x", 1, 0.4), ("y", 0, 0.9)]
    ]
    folder = write_result("a", values)
    protocols = [{"name": "box", "averaging": "images"}]
    (folder / "run.json").write_text(json.dumps({"protocols": protocols}))
    overall = pick(measure(pair(read_runs([str(folder)])), FEW), grouping="overall")
    assert (overall["dsc"], overall["fill_box"]) == pytest.approx((0.6, 0.3))


def test_a_model_without_a_protocol_has_no_row_for_it(paired, rows):
    frame = measure(paired(a=rows([0.1]), b=rows([0.2]) + rows([0.3], protocol="1pt")), FEW)
    overall = frame[frame["grouping"] == "overall"]
    assert list(zip(overall["protocol"], overall["model"], strict=True)) == [
        ("box", "a"), ("box", "b"), ("1pt", "b"),
    ]  # fmt: skip


@pytest.mark.parametrize(("unit", "pairs"), [("case", 2), ("image", 3)])
def test_pairs_are_cases_or_images(paired, unit, pairs):
    values = [
        {"image_id": image, "case": case, "mask_id": mask, "dice": 0.1}
        for image, case, mask in [("x", "1", 0), ("x", "1", 1), ("y", "1", 0), ("z", "2", 0)]
    ]
    assert measure(paired(a=values), Settings(unit, 50))["num_units"][0] == pairs


def test_cases_of_one_name_in_two_data_sets_are_two_and_images_without_a_case_one_each(paired):
    values = [
        {"image_id": image, "case": case, "source": source, "dice": 0.1}
        for image, case, source in [
            ("x", "1", "A"), ("y", "1", "B"), ("z", "", "A"), ("1", "", "A"),
        ]
    ]  # fmt: skip
    assert measure(paired(a=values), FEW)["num_units"][0] == 4


def test_the_seed_decides_the_intervals(paired, rows):
    scores = paired(a=rows([0.1, 0.5, 0.7, 0.8]))
    low = [measure(scores, Settings(resamples=50, seed=seed))["low"][0] for seed in (0, 0, 1)]
    assert low[0] == low[1] != low[2]


@pytest.mark.parametrize("settings", [{"resamples": 0}, {"confidence": 1.0}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ComparisonError, match=next(iter(settings))):
        Settings(**settings)
