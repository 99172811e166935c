"""The twelve rows of the paper's table 5: one config each, held against one small table."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from syncsam_lightning.cli.catalog import config_folder
from syncsam_lightning.interaction import TrainingEpisode, run_rounds
from syncsam_lightning.losses import PromptLoss
from syncsam_lightning.models import SyncSAM
from syncsam_lightning.prompts import Targets

FOLDER = config_folder() / "ablations"
BASE = yaml.safe_load((config_folder() / "resnet50_samed.yaml").read_text())

# Parameters of each part; the ViT's, the decoder's and the CNNs' as their authors publish them.
VIT, NECK, PROMPT_ENCODER = 85_885_184, 787_456, 6_220
CNN = {"none": 0, "resnet34": 21_284_672, "resnet50": 23_508_032}
ADAPTERS = {"none": 0, "resnet34": 1_980_032, "resnet50": 22_164_992}
BRIDGES = 2_460_000 + 73_952
TWO_WAY_TRANSFORMER_AND_UPSCALING = 3_365_216
MED_TOKEN = 177_152
SAM_TOKENS = 5 * 256
MASK_MLP, IOU_HEAD = 139_808, 132_612
SAM_DECODER = TWO_WAY_TRANSFORMER_AND_UPSCALING + SAM_TOKENS + 4 * MASK_MLP + IOU_HEAD

TINY = {"image_size": 64, "vit_width": 32, "vit_depth": 4, "vit_heads": 2, "window_size": 3}


def read_rows() -> list[dict[str, Any]]:
    with (FOLDER / "table5.csv").open(newline="") as file:
        return [
            row
            | {
                "row": int(row["row"]),
                "med_token": row["med_token"] == "true",
                "multi_scale": row["multi_scale"] == "true",
                "frozen": row["frozen"].split(),
            }
            for row in csv.DictReader(file)
        ]


ROWS = read_rows()
each_row = pytest.mark.parametrize("row", ROWS, ids=[f"row {row['row']}" for row in ROWS])


def text_of(row: dict[str, Any]) -> str:
    return Path(FOLDER / f"row{row['row']:02d}.yaml").read_text()


def arguments(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a row of the table asks of the model."""
    names = ("cnn", "vit", "med_token", "multi_scale", "frozen")
    fusion = {} if row["fusion"] == "none" else {"fusion": row["fusion"]}
    return {name: row[name] for name in names} | fusion


def test_there_are_twelve():
    assert [row["row"] for row in ROWS] == list(range(1, 13))
    configs = sorted(path.name for path in FOLDER.glob("*.yaml"))
    assert configs == [f"row{number:02d}.yaml" for number in range(1, 13)]


@each_row
def test_a_config_differs_from_the_papers_in_what_its_row_says_alone(row: dict[str, Any]):
    config = yaml.safe_load(text_of(row))
    network = config["model"].pop("network")
    assert network == {
        "class_path": "syncsam_lightning.models.SyncSAM",
        "init_args": arguments(row),
    }
    expected = {**BASE, "model": {**BASE["model"]}}
    del expected["model"]["network"]
    if row["cnn"] == "none":
        expected["model"]["cnn_weights"] = "none"
    assert config == expected
    assert text_of(row).startswith(f"# Table 5, row {row['row']}: {row['what']}\n")


@each_row
def test_a_row_has_the_parameters_that_it_implies(row: dict[str, Any]):
    with torch.device("meta"):
        model = SyncSAM(**arguments(row))
    encoder = NECK + CNN[row["cnn"]] + ADAPTERS[row["cnn"]]
    encoder += VIT if row["vit"] != "none" else 0
    encoder += BRIDGES if row["multi_scale"] else 0
    decoder = SAM_DECODER
    if row["med_token"]:
        decoder = TWO_WAY_TRANSFORMER_AND_UPSCALING + MED_TOKEN
    total = encoder + PROMPT_ENCODER + decoder

    left_alone = VIT + NECK if row["vit"] == "frozen" else 0
    left_alone += PROMPT_ENCODER if "prompt_encoder" in row["frozen"] else 0
    if "decoder" in row["frozen"]:
        left_alone += TWO_WAY_TRANSFORMER_AND_UPSCALING if row["med_token"] else SAM_DECODER
    elif not row["med_token"]:
        left_alone += 3 * MASK_MLP + IOU_HEAD  # of the masks that are not asked for
    assert sum(p.numel() for p in model.parameters()) == total
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == total - left_alone
    assert (trained == 0) == (row["row"] == 1)


def test_the_rows_that_the_paper_counts_have_its_parameters():
    counts = {10: (116, 26), 12: (138, 48)}
    for row in ROWS:
        if row["row"] in counts:
            with torch.device("meta"):
                model = SyncSAM(**arguments(row))
            total = sum(p.numel() for p in model.parameters())
            trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
            assert (round(total / 1e6), round(trained / 1e6)) == counts[row["row"]]


def loss_of_an_episode(model: SyncSAM, first: str) -> Tensor:
    masks = torch.zeros(3, 64, 64, dtype=torch.bool)
    masks[0, 10:30, 5:40] = masks[1, 40:60, 20:50] = masks[2, 5:20, 30:60] = True
    targets = Targets(
        masks=masks,
        boxes=torch.tensor([[5.0, 10, 40, 30], [20, 40, 50, 60], [30, 5, 60, 20]]),
        image_index=torch.tensor([0, 1, 1]),
        keys=torch.arange(3),
        sizes=torch.full((2, 2), 64),
    )
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    episode = TrainingEpisode(iterations=2, box_probability=float(first == "box"))
    features = model.encode(images, targets.sizes)
    rounds = run_rounds(lambda p: model.decode(features, p), targets, episode.policy(0))
    losses = [PromptLoss().terms(played.logits, targets.masks).total for played in rounds]
    return torch.stack(losses).mean()


@each_row
def test_a_step_of_training_moves_what_a_row_trains_and_nothing_else(row: dict[str, Any]):
    torch.manual_seed(0)
    model = SyncSAM(**(arguments(row) | TINY)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if row["row"] == 1:
        assert not trained
        return
    optimizer = torch.optim.SGD(trained.values(), lr=10.0)
    for first in ("box", "point"):  # an episode has one of them, and trains its embedding alone
        loss_of_an_episode(model, first).backward()
    optimizer.step()
    after = model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    buffers = {name for name, _ in model.named_buffers()}
    assert moved - buffers == set(trained)
    assert moved.isdisjoint(model.frozen_keys())
