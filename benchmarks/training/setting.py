"""What all measurements share: the model, a batch, and how often to repeat."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from syncsam_lightning.data.batch import ImageBatch, ImageInfo, ObjectInfo
from syncsam_lightning.geometry import masks_to_boxes
from syncsam_lightning.models import SyncSAM
from syncsam_lightning.prompts import Targets

_TINY = {"cnn": "resnet18", "vit_width": 32, "vit_depth": 4, "vit_heads": 2}


@dataclass(frozen=True)
class Setting:
    """How large the measurements are.

    Args:
        device: where to measure.
        repeats: of each measurement, after one that is not counted.
        tiny: a toy model at 64 pixels, to see that everything runs.
        compiles: whether the training step is measured with ``torch.compile`` too.
    """

    device: str = "cpu"
    repeats: int = 5
    tiny: bool = False
    compiles: bool = False

    @property
    def side(self) -> int:
        """Side of the images in pixels."""
        return 64 if self.tiny else 256

    def model(self, **changes: object) -> SyncSAM:
        """Return SyncSAM-34, the same weights each time, frozen as in the paper."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            options = {"image_size": self.side, **(_TINY if self.tiny else {}), **changes}
            return SyncSAM(**options).to(self.device)

    def batch(self, images: int = 4, masks: int = 5, side: int | None = None) -> ImageBatch:
        """Return random images with ``masks`` discs on each."""
        side = side or self.side
        generator = torch.Generator().manual_seed(1)
        centres = torch.randint(
            side // 4, 3 * side // 4, (images * masks, 2, 1, 1), generator=generator
        )
        radii = torch.randint(side // 16, side // 4, (images * masks, 1, 1), generator=generator)
        pixels = torch.arange(side)
        rows, columns = pixels[:, None] - centres[:, 0], pixels - centres[:, 1]
        discs = rows**2 + columns**2 <= radii**2
        targets = Targets(
            masks=discs,
            boxes=masks_to_boxes(discs),
            image_index=torch.arange(images).repeat_interleave(masks),
            keys=torch.arange(images * masks),
            sizes=torch.full((images, 2), side),
        )
        batch = ImageBatch(
            images=torch.randint(0, 256, (images, 3, side, side), generator=generator).byte(),
            targets=targets,
            infos=[ImageInfo(i, str(i), side, side, "", "", "") for i in range(images)],
            objects=[ObjectInfo(i, "disc", 1) for i in range(images * masks)],
        )
        return batch.to(self.device)

    def autocast(self, dtype: torch.dtype) -> AbstractContextManager:
        """Return a context that computes in ``dtype``; float32 leaves everything as it is."""
        return torch.autocast(self.device, dtype, enabled=dtype != torch.float32)


Measurement = Callable[[Setting], list]
