"""An episode never makes the host wait for the device.

A GPU is fed from a queue; whenever the host asks for a number (``.item()``, the size of a
``nonzero()``), the queue runs dry. Seen here without a GPU in two ways: no such operation is
dispatched, and the whole episode runs on torch's ``meta`` device, on which no number exists and to
which nothing can have been copied from elsewhere.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from syncsam_lightning.data.batch import ImageBatch, ImageInfo, ObjectInfo
from syncsam_lightning.geometry import masks_to_boxes
from syncsam_lightning.interaction import TrainingEpisode
from syncsam_lightning.losses import PromptLoss
from syncsam_lightning.models import SyncSAM
from syncsam_lightning.prompts import BoxJitter, Targets
from syncsam_lightning.training.schedules import joint_loss, per_round_losses

SIDE = 64
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero")
EPISODES = {
    "box": TrainingEpisode(iterations=3, box_probability=1.0),
    "edges": TrainingEpisode(iterations=1, box_probability=1.0, box_jitter=BoxJitter("edges")),
    "point": TrainingEpisode(iterations=3, box_probability=0.0, feedback="sigmoid"),
    "accumulating": TrainingEpisode(iterations=4, accumulate_points=True, mask_only_rounds=False),
}


class NoWaiting(TorchDispatchMode):
    """Refuses what would make the host wait for a GPU."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().removeprefix("aten::").split(".")[0]
        if name in WAITS or name.startswith("_unique"):
            raise AssertionError(f"{func.name()} makes the host wait")
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            for index in args[1]:
                if index is not None and index.dtype in (torch.bool, torch.uint8):
                    raise AssertionError(f"{func.name()} by a mask makes the host wait")
        return func(*args, **(kwargs or {}))


def build() -> SyncSAM:
    return SyncSAM(
        cnn="resnet18", image_size=SIDE, vit_width=32, vit_depth=4, vit_heads=2, window_size=3
    ).train()


def discs() -> ImageBatch:
    pixels = torch.arange(SIDE)
    radii = torch.tensor([5, 9, 14, 20])[:, None, None]
    masks = (pixels[:, None] - 30) ** 2 + (pixels - 28) ** 2 < radii**2
    targets = Targets(
        masks=masks,
        boxes=masks_to_boxes(masks),
        image_index=torch.tensor([0, 0, 1, 1]),
        keys=torch.arange(4),
        sizes=torch.tensor([[SIDE, SIDE], [SIDE, 50]]),
    )
    return ImageBatch(
        images=torch.randint(0, 256, (2, 3, SIDE, SIDE), dtype=torch.uint8),
        targets=targets,
        infos=[ImageInfo(i, str(i), SIDE, SIDE, "", "", "") for i in range(2)],
        objects=[ObjectInfo(i, "disc", 1) for i in range(4)],
    )


@pytest.mark.parametrize("name", EPISODES)
def test_no_operation_of_an_episode_waits(name):
    model, batch, policy = build(), discs(), EPISODES[name].policy(0)
    with NoWaiting():
        joint_loss(model, PromptLoss(), batch, policy).total.backward()
        for terms in per_round_losses(model, PromptLoss(), batch, policy):
            terms.total.backward()


@pytest.mark.parametrize("name", EPISODES)
def test_an_episode_needs_no_number_from_the_device(name, monkeypatch):
    # torch has no autocast for this device, not even a switched-off one.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    model, batch = build().to("meta"), discs().to("meta")
    loss = joint_loss(model, PromptLoss(), batch, EPISODES[name].policy(0)).total
    loss.backward()
    assert loss.device.type == "meta"


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: bool(x.sum() > 0),
        lambda x: x.index_put_((x > 0,), torch.tensor(0.0)),
    ],
)
def test_waiting_would_be_noticed(wait):
    with NoWaiting(), pytest.raises(AssertionError, match="makes the host wait"):
        wait(torch.ones(3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_no_operation_of_an_episode_waits_for_a_gpu():
    model, batch, policy = build().cuda(), discs().to("cuda"), EPISODES["box"].policy(0)
    joint_loss(model, PromptLoss(), batch, policy).total.backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        joint_loss(model, PromptLoss(), batch, policy).total.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
