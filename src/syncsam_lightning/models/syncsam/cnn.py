"""The CNN branch: a torchvision ResNet that hands out the maps of its four stages."""

from __future__ import annotations

from typing import cast

import torchvision
from torch import Tensor, nn

from syncsam_lightning.models.recompute import recomputed
from syncsam_lightning.models.syncsam.architecture import CNNName

STAGE_STRIDES = (4, 8, 16, 32)
_BASIC_CHANNELS = (64, 128, 256, 512)
STAGE_CHANNELS: dict[str, tuple[int, int, int, int]] = {
    "resnet18": _BASIC_CHANNELS,
    "resnet34": _BASIC_CHANNELS,
    "resnet50": (256, 512, 1024, 2048),
}


class ResNetStages(nn.Module):
    """A ResNet without its classifier; parameter names are torchvision's.

    Args:
        name: ``"resnet18"``, ``"resnet34"`` or ``"resnet50"``. Weights start random; see
            :func:`syncsam_lightning.models.load_imagenet_weights`.
        recomputes: whether the blocks are computed again in the backward pass, to save memory.
    """

    def __init__(self, name: CNNName, *, recomputes: bool = False) -> None:
        super().__init__()
        self.recomputes = recomputes
        resnet = torchvision.models.get_model(name, weights=None)
        self.name = name
        self.channels = STAGE_CHANNELS[name]
        self.conv1, self.bn1 = resnet.conv1, resnet.bn1
        self.relu, self.maxpool = resnet.relu, resnet.maxpool
        self.layer1, self.layer2 = resnet.layer1, resnet.layer2
        self.layer3, self.layer4 = resnet.layer3, resnet.layer4

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of layers 1 to 4, at strides 4, 8, 16 and 32.

        Args:
            images: ``(B, 3, S, S)``, normalised.
        """
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in layer:
                x = cast(Tensor, recomputed(block, x) if self.recomputes else block(x))
            maps.append(x)
        return maps
