"""ImageNet weights for the CNN branch, by torchvision's own means."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.models import ResNet18_Weights, ResNet34_Weights, ResNet50_Weights

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models.promptable import PromptableModel
from syncsam_lightning.models.weights.checkpoint_file import READ_ERRORS
from syncsam_lightning.models.weights.report import LoadReport

_WEIGHTS = {
    "resnet18": ResNet18_Weights.IMAGENET1K_V1,
    "resnet34": ResNet34_Weights.IMAGENET1K_V1,
    "resnet50": ResNet50_Weights.IMAGENET1K_V1,
}


def load_imagenet_weights(model: PromptableModel) -> LoadReport:
    """Start a model's ResNet from torchvision's ImageNet weights (``IMAGENET1K_V1``).

    They are taken from torch.hub's cache, or downloaded into it once with their hash checked.
    Without a ResNet (:attr:`PromptableModel.imagenet_part`) nothing is loaded, and the report says
    so.

    Raises:
        WeightsError: the weights are neither cached nor to be had; the message says which file to
            put where, and how to do without.
    """
    part = model.imagenet_part
    if part is None:
        return LoadReport("imagenet", loaded=())
    cnn = model.get_submodule(part)
    name = str(cnn.name)
    state_dict = _fetch(name)
    # num_batches_tracked is younger than the files, and only counts; the classifier is not used.
    incompatible = cnn.load_state_dict(state_dict, strict=False)
    missing = [key for key in incompatible.missing_keys if not key.endswith("num_batches_tracked")]
    if missing:
        raise WeightsError(f"torchvision's {name} weights lack {', '.join(missing)}")
    unexpected = tuple(incompatible.unexpected_keys)
    prefix = f"{part}."
    return LoadReport(
        layout="imagenet",
        loaded=tuple(prefix + key for key in state_dict if key not in unexpected),
        missing=tuple(prefix + key for key in incompatible.missing_keys),
        unexpected=unexpected,
    )


def _fetch(name: str) -> dict[str, Tensor]:
    weights = _WEIGHTS[name]
    try:
        return dict(
            weights.get_state_dict(
                progress=False, check_hash=True, map_location="cpu", weights_only=True
            )
        )
    except READ_ERRORS as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise WeightsError(
            f"no ImageNet weights for {name} ({error}). Put {Path(weights.url).name} from "
            f"{weights.url} into {folder} (replacing a damaged one), or start the CNN from random "
            "weights with cnn_weights: none"
        ) from error
