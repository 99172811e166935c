"""How a batch comes to a GPU: from pinned memory and without waiting, as far as a CPU can show."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.overrides import TorchFunctionMode

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.data.streaming import StreamingDataModule
from syncsam_lightning.geometry import PackedMasks
from syncsam_lightning.prompts import Targets


@pytest.fixture
def batch():
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    targets = Targets(
        masks=masks,
        boxes=torch.zeros(3, 4),
        image_index=torch.tensor([0, 1, 1]),
        keys=torch.arange(3),
        sizes=torch.full((2, 2), 8),
        origins=torch.zeros(2, 2, dtype=torch.long),
        first_points=torch.zeros(3, 1, 2),
    )
    return ImageBatch(
        images=torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        targets=targets,
        infos=[],
        objects=[],
        original_masks=[PackedMasks.of(masks[:1]), PackedMasks.of(masks[1:])],
        original_boxes=torch.zeros(3, 4),
    )


def tensors(batch: ImageBatch) -> list[torch.Tensor]:
    of_targets = [getattr(batch.targets, name) for name in Targets.__dataclass_fields__]
    of_originals = [masks.bits for masks in batch.original_masks]
    return [batch.images, *of_targets, *of_originals, batch.original_boxes]


class Copies(TorchFunctionMode):
    """Notes whether each copy waits."""

    def __init__(self) -> None:
        super().__init__()
        self.non_blocking: list[bool] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.Tensor.to:
            self.non_blocking.append((kwargs or {}).get("non_blocking", False))
        return func(*args, **(kwargs or {}))


def test_every_tensor_of_a_batch_is_copied_without_waiting(batch):
    with Copies() as copies:
        moved = StreamingDataModule.transfer_batch_to_device(None, batch, torch.device("meta"), 0)
    assert {tensor.device.type for tensor in tensors(moved)} == {"meta"}
    assert copies.non_blocking == [True] * len(tensors(batch))


def test_every_tensor_of_a_batch_is_pinned(batch, monkeypatch):
    pinned: list[int] = []
    note = lambda tensor: (pinned.append(id(tensor)), tensor)[1]  # noqa: E731
    monkeypatch.setattr(torch.Tensor, "pin_memory", note)
    expected = [id(tensor) for tensor in tensors(batch)]
    batch.pin_memory()
    assert sorted(pinned) == sorted(expected)


@pytest.mark.parametrize(("device", "pins"), [("cpu", False), ("cuda", True), (None, False)])
def test_memory_is_pinned_for_a_gpu_alone(device, pins):
    strategy = SimpleNamespace(root_device=torch.device(device or "cpu"))
    module = SimpleNamespace(trainer=device and SimpleNamespace(strategy=strategy))
    assert StreamingDataModule._on_gpu(module) is pins
