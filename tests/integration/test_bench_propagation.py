"""The benchmark of stop rules: what a rule keeps of what was drawn, and how that is judged."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from benchmarks.propagation.__main__ import main
from benchmarks.propagation.make import main as make
from benchmarks.propagation.make import phantom
from benchmarks.propagation.walks import NEVER, Outcome, Walk
from syncsam_lightning.models import ScribblePromptUNet
from syncsam_lightning.models.settings import ModelSettings
from syncsam_lightning.prediction import StopRule

AREAS = {0: 40, 1: 40, 2: 8, 3: 10, 4: 10, 5: 12, 6: 2, 7: 12}


@pytest.fixture
def walk() -> Walk:
    """An object on slices 2 to 5 that was found exactly, and what was drawn above and below."""
    drawn = np.zeros((8, 8, 8), bool)
    for number, area in AREAS.items():
        drawn[number].flat[:area] = True
    truth = drawn.copy()
    truth[[0, 1, 6, 7]] = False
    return Walk("x", 4, drawn, truth, dict.fromkeys(AREAS, 0.9) | {0: 0.2})


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (NEVER, (0, 7)),
        (StopRule(1, 4.0, 0.0), (2, 5)),
        (StopRule(1, 5.5, 0.0), (0, 5)),
        (StopRule(1, 5.5, 0.5), (1, 5)),
        (StopRule(3, 1e9, 0.0), (0, 5)),
    ],
)
def test_a_rule_keeps_what_a_propagation_with_it_draws(
    walk: Walk, rule: StopRule, kept: tuple[int, int]
):
    assert walk.kept(rule) == kept


def test_slices_beyond_and_missed_are_counted(walk: Walk):
    assert walk.outcome(2, 5) == Outcome(dice=1.0, beyond=0, missed=0)
    assert walk.outcome(1, 4) == Outcome(dice=2 * 28 / (68 + 40), beyond=1, missed=1)
    assert walk.true_ends() == (2, 5)


def test_phantoms_hold_what_their_labels_say():
    values, labels = phantom(3)
    assert values.shape == labels.shape == (96, 96, 40)
    found = [float(values[labels == number].mean()) for number in np.unique(labels)]
    assert len(found) > 4
    assert min(abs(a - b) for i, a in enumerate(found) for b in found[:i]) > 10


def test_every_rule_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert make(["phantoms", str(tmp_path / "v"), "--count", "1"]) == 0
    # Two objects are enough, and few slices.
    path = tmp_path / "v/masks/phantom000.nii.gz"
    labels = np.asanyarray(nib.load(path).dataobj).copy()
    labels[labels > 2] = 0
    nib.save(nib.Nifti1Image(labels, np.diag([1.0, 1.0, 3.0, 1.0])), path)
    model = ScribblePromptUNet(image_size=16, width=2, depth=1)
    settings = ModelSettings.of(model)
    torch.save(
        {
            "state_dict": {f"network.{key}": value for key, value in model.state_dict().items()},
            "frozen_checksum": "",
            "hyper_parameters": {
                "network": {
                    "class_path": settings.class_path,
                    "init_args": dict(settings.init_args),
                },
                "sam_checkpoint": "none",
            },
        },
        tmp_path / "x.ckpt",
    )
    told = tmp_path / "rules.json"
    assert main([str(tmp_path / "x.ckpt"), str(tmp_path / "v"), "--json", str(told)]) == 0
    result = json.loads(told.read_text())
    assert result["walks"] == 6
    assert "6 walks" in capsys.readouterr().out
    best, *rest = [line["dice"] for line in result["rules"][2:]]
    assert all(best >= other for other in rest)
