"""SyncSAM at full size gives PyTorch's answers in ONNX Runtime and in a program of torch.export."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from syncsam_lightning.exporting import (
    TOLERANCE,
    OnnxModel,
    ProgramModel,
    export_onnx,
    export_programs,
    largest_difference,
)
from syncsam_lightning.models import SyncSAM, initialise_frozen

# Both maps and five kinds of prompts, for three numbers of images, objects and points.
COMPARISONS = 3 * 7


@pytest.fixture(scope="module", params=["resnet34", "resnet50"])
def model(request: pytest.FixtureRequest) -> SyncSAM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SyncSAM(cnn=request.param)
    initialise_frozen(network)
    return network.eval()


@pytest.mark.slow
def test_onnx_gives_the_answers_of_the_model(model: SyncSAM, tmp_path: Path):
    pytest.importorskip("onnxruntime")
    export_onnx(model, tmp_path)
    difference = largest_difference(OnnxModel(tmp_path, threads=1), model)
    print(difference)  # `pytest -rP` shows it
    assert difference.comparisons == COMPARISONS
    assert 0 < difference.value < TOLERANCE


@pytest.mark.slow
def test_a_program_gives_the_answers_of_the_model(model: SyncSAM, tmp_path: Path):
    files = export_programs(model, tmp_path)
    difference = largest_difference(ProgramModel(files, model.input_spec), model)
    print(difference)  # `pytest -rP` shows it
    assert difference.comparisons == COMPARISONS
    assert difference.value < TOLERANCE
