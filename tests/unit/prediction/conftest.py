from __future__ import annotations

import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from syncsam_lightning.models import ImageFeatures, InputSpec, PromptableModel
from syncsam_lightning.prediction import Predictor, VolumePredictor
from syncsam_lightning.prediction.assignment import assign_prompts
from syncsam_lightning.prediction.file_predictor import FilePredictor, Outcome
from syncsam_lightning.prediction.inputs import find_inputs
from syncsam_lightning.prediction.prompt_list import ListedPrompt
from syncsam_lightning.prompts import Prompts
from syncsam_lightning.volumes import parse_window

SIDE = 64


class BrightInside(PromptableModel):
    """Finds what is bright within a box, or anywhere without one: a model whose answers are known.

    Clicks on the background put out what is less than two pixels away.
    """

    image_fit = "pad"

    def __init__(
        self, image_size: int = SIDE, prompts: tuple[str, ...] = ("boxes", "points", "masks")
    ) -> None:
        super().__init__()
        self.input_spec = InputSpec(image_size, frozenset(prompts), image_size)
        self.threshold = nn.Parameter(torch.tensor(127.0))
        self.encoded = 0
        self.asked: list[Prompts] = []

    def encode(self, images: Tensor, sizes: Tensor | None = None) -> ImageFeatures:
        self.encoded += len(images)
        return ImageFeatures(images.float().mean(1, keepdim=True))

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        self.check_prompts(prompts)
        self.asked.append(prompts)
        grey = features.embedding[prompts.image_index, 0]
        place = torch.arange(grey.shape[-1]) + 0.5
        inside = torch.ones_like(grey, dtype=torch.bool)
        if prompts.boxes is not None:
            x0, y0, x1, y1 = prompts.boxes.T[..., None]
            columns, rows = (place > x0) & (place < x1), (place > y0) & (place < y1)
            inside = rows[:, :, None] & columns[:, None, :]
        if prompts.points is not None and prompts.point_labels is not None:
            at = place - 0.5
            for number, (points, labels) in enumerate(
                zip(prompts.points, prompts.point_labels, strict=True)
            ):
                for (x, y), label in zip(points, labels, strict=True):
                    near = ((at[:, None] - y) ** 2 + (at[None, :] - x) ** 2) < 4
                    if label == 0:
                        inside[number] &= ~near
        return torch.where(inside, (grey - self.threshold) / 16, torch.tensor(-8.0))


@pytest.fixture
def bright() -> Callable[..., BrightInside]:
    return BrightInside


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(BrightInside(), device="cpu")


@pytest.fixture
def square() -> np.ndarray:
    """A bright rectangle on a dark image that is wider than high: columns 20..39, rows 10..19."""
    pixels = np.full((40, 80), 20, np.uint8)
    pixels[10:20, 20:40] = 220
    return pixels


@pytest.fixture
def square_file(square: np.ndarray, tmp_path: Path) -> Path:
    Image.fromarray(square).save(tmp_path / "square.png")
    return tmp_path / "square.png"


@pytest.fixture
def bright_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of BrightInside, as training would leave it."""
    module = types.ModuleType("bright_model")
    module.BrightInside = BrightInside
    monkeypatch.setitem(sys.modules, "bright_model", module)
    model = BrightInside()
    path = tmp_path / "bright.ckpt"
    torch.save(
        {
            "pytorch-lightning_version": "2.6.0",
            "state_dict": {f"network.{k}": v for k, v in model.state_dict().items()},
            "frozen_checksum": "",
            "hyper_parameters": {
                "network": {"class_path": "bright_model.BrightInside", "init_args": {}},
                "sam_checkpoint": "none",
            },
        },
        path,
    )
    return path


@pytest.fixture
def pooled() -> Callable[[Tensor, int], Tensor]:
    return lambda masks, side: F.adaptive_avg_pool2d(masks[:, None].float(), side)[:, 0]


@pytest.fixture
def segment(predictor: Predictor, tmp_path: Path) -> Callable[..., Outcome]:
    def run(paths: Sequence[Path], prompts: Sequence[ListedPrompt], **options: object) -> Outcome:
        volumes = VolumePredictor(predictor, plane="axial", window=parse_window("soft_tissue"))
        runner = FilePredictor(predictor, volumes, tmp_path / "out", **options)
        outcome = runner.run(assign_prompts(find_inputs(paths)[0], prompts)[0])
        outcome.write(tmp_path / "out")
        return outcome

    return run
