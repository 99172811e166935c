"""A network and data small enough to train in a test."""

from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest

from syncsam_lightning.data import PromptableDataModule
from syncsam_lightning.interaction import TrainingEpisode
from syncsam_lightning.models import SyncSAM
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample
from syncsam_lightning.training.checkpoint import AtomicCheckpointIO
from syncsam_lightning.training.module import InteractiveSegmentation

SMALL = {
    "cnn": "resnet18",
    "image_size": 64,
    "vit_width": 32,
    "vit_depth": 4,
    "vit_heads": 2,
    "window_size": 3,
}


class Discs(PromptableDataModule):
    """Bright discs and bars on noise; 11 training rows on 11 cases, 2 to validate, 3 to test."""

    card = DatasetCard("Discs", "Made in memory.")
    needs_root = False

    def records(self, root: Path):
        rows, columns = np.mgrid[:50, :64]
        for number in range(16):
            rng = np.random.default_rng(number)
            disc = (rows - rng.integers(15, 35)) ** 2 + (columns - rng.integers(15, 49)) ** 2 < 90
            bar = np.zeros_like(disc)
            bar[2:8, 5 : rng.integers(20, 60)] = True
            image = rng.integers(0, 60, disc.shape, np.uint8) + 150 * disc.astype(np.uint8)
            yield RawSample(
                f"disc-{number}",
                image + 80 * bar.astype(np.uint8),
                [NamedMask("disc", disc), NamedMask("bar", bar)],
                modality="mr" if number % 2 else "ct",
                source="discs",
                case=str(number),
                split="train" if number < 11 else "val" if number < 13 else "test",
            )


@pytest.fixture
def discs(tmp_path):
    def build(**kwargs):
        options = {"image_size": 64, "batch_size": 2, "masks_per_image": 2, "num_workers": 0}
        return Discs(table=str(tmp_path / "discs.lance"), **(options | kwargs))

    return build


@pytest.fixture
def task():
    def build(*, episode=None, frozen=("decoder",), vit="frozen", cnn="resnet18", **kwargs):
        network = SyncSAM(**(SMALL | {"cnn": cnn}), frozen=frozen, vit=vit)
        options = {"sam_checkpoint": "none", "cnn_weights": "none", "lr": 1e-3}
        return InteractiveSegmentation(
            network, episode or TrainingEpisode(iterations=2), **(options | kwargs)
        )

    return build


@pytest.fixture
def trainer():
    def build(root, **kwargs):
        options = {
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "use_distributed_sampler": False,
            "num_sanity_val_steps": 0,
            "default_root_dir": root,
            "plugins": [AtomicCheckpointIO()],
            "enable_checkpointing": False,
        }
        return pl.Trainer(**(options | kwargs))

    return build
