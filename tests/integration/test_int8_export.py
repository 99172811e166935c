"""What eight bits cost a model that has learnt something is stated, and the statement is right."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path

import lance
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from syncsam_lightning.cli.main import main
from syncsam_lightning.models import SyncSAM
from syncsam_lightning.prediction import Predictor
from syncsam_lightning.prompts import Prompts

pytestmark = pytest.mark.slow
PAIR = Path(__file__).parents[2] / "docs/onnx_pair.py"
SIDE, STEPS, BATCH = 64, 50, 8
SIZES = {"image_size": SIDE, "vit_width": 32, "vit_depth": 4, "vit_heads": 2, "window_size": 3}


def draw_disc(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a noisy grey image ``(S, S)`` uint8 of a disc, and the disc ``(S, S)`` bool."""
    rng = np.random.default_rng(number)
    grid, (y, x) = np.arange(SIDE) + 0.5, rng.uniform(20, 44, 2)
    mask = np.hypot(grid[:, None] - y, grid - x) < rng.uniform(7, 18)
    return (60 + 110 * mask + rng.normal(0, 12, mask.shape)).clip(0, 255).astype(np.uint8), mask


def box_of(mask: np.ndarray) -> list[int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def learn_discs() -> SyncSAM:
    """Train a small network for seconds."""
    discs = [draw_disc(number) for number in range(1000, 1064)]
    images = torch.tensor(np.stack([np.repeat(pixels[None], 3, axis=0) for pixels, _ in discs]))
    masks = torch.tensor(np.stack([mask for _, mask in discs])).float()
    boxes = torch.tensor(np.array([box_of(mask) for _, mask in discs]), dtype=torch.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SyncSAM(cnn="none", vit="trained", frozen=(), **SIZES).train()
        optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
        for chosen in torch.randint(0, len(discs), (STEPS, BATCH)):
            prompts = Prompts(torch.arange(BATCH), boxes=boxes[chosen])
            logits = model.decode(model.encode(images[chosen]), prompts)
            resized = F.interpolate(logits[:, None], (SIDE, SIDE), mode="bilinear")[:, 0]
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(resized, masks[chosen]).backward()
            optimizer.step()
    return model.eval()


def mean_dice(segment: Callable[[np.ndarray, list[int]], np.ndarray], numbers: list[int]) -> float:
    scores = []
    for pixels, truth in map(draw_disc, numbers):
        found = segment(pixels, box_of(truth))
        scores.append(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    return float(np.mean(scores))


def test_the_dice_of_eight_bits_is_stated_and_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    model = learn_discs()
    torch.save(model.state_dict(), "discs.pth")
    for number in range(60):
        for kind, picture in zip(("images", "masks"), draw_disc(number), strict=True):
            path = Path(f"discs/{kind}/{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.astype(np.uint8)).save(path)
    assert main(["prepare", "MaskFolder", "discs", "t.lance", f"--options.image_size={SIDE}"]) == 0
    line = ["export", "onnx", "discs.pth", "exported", "--int8", "true", "--table", "t.lance"]
    assert main(line) == 0
    printed = capsys.readouterr().out

    rows = lance.dataset("t.lance").to_table(columns=["id", "split"]).to_pylist()
    tested = [int(Path(row["id"]).stem) for row in rows if row["split"] == "test"]
    assert len(tested) > 3
    spec = importlib.util.spec_from_file_location("onnx_pair", PAIR)
    onnx_pair = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(onnx_pair)

    def in_onnx(folder: str) -> Callable[[np.ndarray, list[int]], np.ndarray]:
        pair = onnx_pair.OnnxPair(folder)

        def segment(pixels: np.ndarray, box: list[int]) -> np.ndarray:
            pair.set_image(pixels)
            return pair.to_image(pair.decode(box=box))

        return segment

    def in_torch(pixels: np.ndarray, box: list[int]) -> np.ndarray:
        predictor = Predictor(model, device="cpu")
        predictor.set_image(pixels)
        return predictor.predict(box=box).masks[0]

    expected = {
        "PyTorch": mean_dice(in_torch, tested),
        "ONNX": mean_dice(in_onnx("exported"), tested),
        "int8": mean_dice(in_onnx("exported/int8"), tested),
    }
    assert expected["PyTorch"] > 0.9  # it has learnt something: a filled box scores 0.88
    record = json.loads(Path("exported/export.json").read_text())
    assert record["int8_relative_difference"] > 1e-4  # eight bits do change the answers
    assert f"DSC (box, {len(tested)} masks on {len(tested)} images of t.lance):" in printed
    for which, score in expected.items():
        assert record["dice"][which] == pytest.approx(score, abs=1e-4)
        (stated,) = re.findall(rf"^  {which} +([\d.]+)  change ([+-][\d.]+)$", printed, re.M)
        assert float(stated[0]) == pytest.approx(score, abs=1.5e-4)  # four decimals are shown
        assert float(stated[1]) == pytest.approx(score - expected["PyTorch"], abs=1.5e-4)
