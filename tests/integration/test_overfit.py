"""A small SyncSAM can learn thirty masks by heart."""

from dataclasses import replace
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from syncsam_datamodules.samed2d import SAMed2D

from syncsam_lightning.interaction import TrainingEpisode
from syncsam_lightning.losses import PromptLoss
from syncsam_lightning.models import SyncSAM
from syncsam_lightning.prompts import BoxJitter
from syncsam_lightning.records import RawSample
from syncsam_lightning.training.module import InteractiveSegmentation

RELEASE = Path(__file__).parents[3] / "shared" / "data" / "samed2d"


class AllForTraining(SAMed2D):
    def records(self, root):
        for item in super().records(root):
            yield replace(item, split="train") if isinstance(item, RawSample) else item


class AllForTesting(SAMed2D):
    def records(self, root):
        for item in super().records(root):
            yield replace(item, split="test") if isinstance(item, RawSample) else item


@pytest.mark.slow
@pytest.mark.skipif(not RELEASE.is_dir(), reason=f"no sample release at {RELEASE}")
def test_thirty_masks_are_learned_to_a_box_dsc_above_90_percent(tmp_path):
    torch.manual_seed(0)
    network = SyncSAM(
        cnn="resnet18",
        vit="trained",
        frozen=(),
        image_size=256,
        vit_width=96,
        vit_depth=4,
        vit_heads=3,
        window_size=8,
    )
    episode = TrainingEpisode(iterations=0, box_probability=1.0, box_jitter=BoxJitter(rule="none"))
    module = InteractiveSegmentation(
        network,
        episode,
        # As in the demo's config: what a model needs that starts from scratch.
        PromptLoss(dice_weight=4.0, focal_weight=20.0, gamma=0.0, alpha=0.5),
        lr=5e-4,
        warmup_steps=50,
        lr_milestones=(120, 160),
        lr_gamma=0.3,
        sam_checkpoint="none",
        cnn_weights="none",
        protocols=("box",),
    )
    options = {"image_size": 256, "batch_size": 4, "masks_per_image": 8, "num_workers": 0}
    train = AllForTraining(str(RELEASE), str(tmp_path / "train.lance"), val_fraction=0.0, **options)
    test = AllForTesting(str(RELEASE), str(tmp_path / "test.lance"), **options)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=180,
        gradient_clip_val=1.0,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, train)
    (means,) = trainer.test(module, test)
    assert means["test/dice_box"] > 0.90
