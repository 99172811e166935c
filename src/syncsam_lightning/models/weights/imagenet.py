"""ImageNet weights for the CNN branch, by torchvision's own means."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import torch
from torchvision.models import ResNet18_Weights, ResNet34_Weights, ResNet50_Weights

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models.syncsam.model import SyncSAM

_WEIGHTS = {
    "resnet18": ResNet18_Weights.IMAGENET1K_V1,
    "resnet34": ResNet34_Weights.IMAGENET1K_V1,
    "resnet50": ResNet50_Weights.IMAGENET1K_V1,
}


def load_imagenet_weights(model: SyncSAM) -> None:
    """Load ImageNet weights into the CNN branch; nothing happens to a model without one.

    The file is taken from torch's hub folder, or downloaded once with its hash checked.

    Raises:
        WeightsError: it is neither there nor can it be fetched.
    """
    cnn = model.image_encoder.cnn
    if cnn is None:
        return
    weights = _WEIGHTS[cnn.name]
    try:
        state = weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise WeightsError(
            f"ImageNet weights of {cnn.name} could not be fetched ({error}): put {weights.url} "
            f"into {folder}, or go without by cnn_weights: none"
        ) from error
    renamed = {}
    for key, value in state.items():
        head, _, rest = key.partition(".")
        if head in ("conv1", "bn1"):
            renamed[f"stage0.{0 if head == 'conv1' else 1}.{rest}"] = value
        elif head.startswith("layer"):
            renamed[f"stage{head.removeprefix('layer')}.{rest}"] = value
    cnn.load_state_dict(renamed, strict=True)
