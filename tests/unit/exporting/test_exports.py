"""Exported models give the model's answers, for any number of images, objects and points."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from syncsam_lightning.errors import ExportError, UnsupportedPromptError
from syncsam_lightning.exporting import (
    OnnxModel,
    ProgramModel,
    export_onnx,
    export_programs,
    largest_difference,
    quantise,
)
from syncsam_lightning.models import (
    FTSAM,
    SAM,
    ImageFeatures,
    IMISNet,
    MedSAM,
    PromptableModel,
    SAMMed2D,
    ScribblePromptUNet,
    SyncSAM,
)
from syncsam_lightning.models.promptable import InputSpec
from syncsam_lightning.prompts import Prompts

SIDE = 64
VIT = {"image_size": SIDE, "vit_width": 32, "vit_depth": 4, "vit_heads": 2, "window_size": 3}
OTHERS: dict[str, Callable[[], PromptableModel]] = {
    "SyncSAM, SAM's decoder": lambda: SyncSAM(
        cnn="none", med_token=False, multi_scale=False, **VIT
    ),
    "SAM": lambda: SAM(**VIT),
    "FTSAM": lambda: FTSAM(**VIT),
    "MedSAM": lambda: MedSAM(**VIT),
    "SAMMed2D": lambda: SAMMed2D(**VIT),
    "IMISNet": lambda: IMISNet(embed_dim=48, **VIT),
    "ScribblePromptUNet": lambda: ScribblePromptUNet(image_size=SIDE, width=8, depth=3),
}


def build(make: Callable[[], PromptableModel]) -> PromptableModel:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return make().eval()


@pytest.fixture(scope="module")
def model() -> PromptableModel:
    return build(lambda: SyncSAM(cnn="resnet18", **VIT))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model: PromptableModel) -> Path:
    pytest.importorskip("onnxruntime")
    place = tmp_path_factory.mktemp("onnx")
    export_onnx(model, place, ["lung"])
    return place


@pytest.mark.slow
def test_onnx_gives_the_answers_of_the_model(folder: Path, model: PromptableModel):
    difference = largest_difference(OnnxModel(folder, threads=1), model)
    assert difference.value < 1e-4
    assert difference.comparisons > 15


@pytest.mark.slow
def test_onnx_says_what_it_takes_and_refuses_the_rest(folder: Path, model: PromptableModel):
    exported = OnnxModel(folder, threads=1)
    assert exported.input_spec == model.input_spec
    features = exported.encode(torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8))
    with pytest.raises(UnsupportedPromptError, match="no prompt"):
        exported.decode(features, Prompts(torch.zeros(1, dtype=torch.int64)))
    with pytest.raises(ValueError, match=r"\(B, 3, 64, 64\)"):
        exported.encode(torch.zeros(1, 3, 32, 32))
    for file in ("encoder.onnx", "decoder.onnx"):
        assert windows_of(folder / file) == ["lung"]


def windows_of(path: Path) -> list[str]:
    import onnxruntime

    kept = onnxruntime.InferenceSession(str(path)).get_modelmeta().custom_metadata_map
    return json.loads(kept["windows"])


@pytest.mark.slow
def test_eight_bits_make_it_smaller_and_nearly_the_same(
    folder: Path, model: PromptableModel, tmp_path: Path
):
    files = quantise(export_onnx(model, folder, ["lung"]), tmp_path)
    assert windows_of(files.encoder) == ["lung"]
    assert files.encoder.stat().st_size < (folder / "encoder.onnx").stat().st_size
    assert 0 < largest_difference(OnnxModel(tmp_path, threads=1), model).value < 0.2


@pytest.mark.slow
def test_torch_programs_give_the_very_same_answers(model: PromptableModel, tmp_path: Path):
    files = export_programs(model, tmp_path)
    assert largest_difference(ProgramModel(files, model.input_spec), model).value < 1e-6


def test_a_model_that_decodes_in_parts_becomes_a_program_for_any_number(tmp_path: Path):
    # At most 32 objects go through this network at a time; a program knows no such limit.
    unet = build(lambda: ScribblePromptUNet(width=8, depth=3))
    exported = ProgramModel(export_programs(unet, tmp_path), unet.input_spec)
    assert largest_difference(exported, unet).value < 1e-6
    corners = torch.linspace(0, 100, 40)[:, None] + torch.tensor([0.0, 5, 20, 27])
    prompts = Prompts(torch.zeros(40, dtype=torch.int64), boxes=corners)
    with torch.no_grad():
        features = unet.encode(torch.rand(1, 3, 128, 128) * 255)
        answers = exported.decode(features, prompts), unet.decode(features, prompts)
    torch.testing.assert_close(*answers)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_models_become_programs_too(name: str, tmp_path: Path):
    other = build(OTHERS[name])
    exported = ProgramModel(export_programs(other, tmp_path), other.input_spec)
    assert largest_difference(exported, other).value < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_models_are_exported_too(name: str, tmp_path: Path):
    other = build(OTHERS[name])
    export_onnx(other, tmp_path)
    assert largest_difference(OnnxModel(tmp_path, threads=1), other).value < 1e-4


class Stranger(PromptableModel):
    """A model that knows nothing of mixed prompts; it answers with a shift of the image."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.shift = shift
        self.input_spec = InputSpec(SIDE, frozenset({"boxes"}), SIDE // 4)

    def encode(self, images: Tensor, sizes: Tensor | None = None) -> ImageFeatures:
        return ImageFeatures(torch.nn.functional.avg_pool2d(images.float(), 16) + 1)

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        logits = torch.nn.functional.interpolate(features.embedding[:, :1], scale_factor=4.0)
        return logits[prompts.image_index, 0] * (1 + self.shift)


def test_a_difference_is_found_where_it_is():
    assert largest_difference(Stranger(), Stranger()).value == 0
    difference = largest_difference(Stranger(0.01), Stranger())
    assert difference.value == pytest.approx(0.01, rel=1e-3)
    assert difference.where.startswith("logits for boxes")


def test_equal_answers_are_told_as_such_and_others_by_their_place():
    same, shifted = (largest_difference(Stranger(shift), Stranger()) for shift in (0, 0.01))
    assert same.comparisons > 0
    assert str(same) == f"0 ({same.comparisons} answers compared, all equal)"
    assert str(shifted) == (
        f"1.0e-02 at most, in {shifted.where} ({shifted.comparisons} answers compared)"
    )


def test_answers_that_are_no_numbers_are_the_worst():
    assert np.isnan(largest_difference(Stranger(float("nan")), Stranger()).value)


def test_a_model_that_does_not_take_mixed_prompts_is_refused(tmp_path: Path):
    with pytest.raises(ExportError, match=r"Stranger can't be exported .* safetensors"):
        export_programs(Stranger(), tmp_path)


def test_a_folder_without_an_export_is_named(tmp_path: Path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(ExportError, match=r"encoder\.onnx does not exist"):
        OnnxModel(tmp_path)
    (tmp_path / "encoder.onnx").write_bytes(b"x")
    with pytest.raises(ExportError, match=r"can't open .*encoder\.onnx"):
        OnnxModel(tmp_path)
