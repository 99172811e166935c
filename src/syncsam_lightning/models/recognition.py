"""Which model a file of weights is of, as far as names and shapes of its tensors tell.

Of the official files, SyncSAM's, SAM-Med2D's, IMIS-Net's and ScribblePrompt-UNet's have names of
their own. SAM's are also MedSAM's and ScribblePrompt-SAM's, which take images in other ways: there
the user has to say which.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models.baselines import (
    FTSAM,
    SAM,
    IMISNet,
    MedSAM,
    SAMMed2D,
    ScribblePromptSAM,
    ScribblePromptUNet,
)
from syncsam_lightning.models.layout import find_layout
from syncsam_lightning.models.promptable import PromptableModel
from syncsam_lightning.models.settings import ModelSettings
from syncsam_lightning.models.syncsam import SyncSAM
from syncsam_lightning.models.vit import NUM_STAGES, PATCH_SIZE

log = logging.getLogger(__name__)

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of tensors by the model's own names."""


class _PartMissingError(Exception):
    """A part of a model is missing; says which, as what follows the file's name."""


_UNDER_SAMS_NAMES = (SAM, MedSAM, FTSAM, ScribblePromptSAM)


def recognise(state_dict: Mapping[str, Tensor], origin: str) -> ModelSettings:
    """Return the model that weights are of, with the sizes that can be read off them, and log it.

    Args:
        state_dict: tensors by the names of any known layout.
        origin: what to call it in an error.

    Raises:
        WeightsError: several models have these names, or none; the message lists them; or a part
            of the model is missing.
    """
    found = _candidates(tuple(state_dict))
    if len(found) == 1:
        settings = ModelSettings(_path(found[0]), sizes(state_dict, found[0], origin))
        told = ", ".join(f"{name}={value}" for name, value in settings.init_args.items())
        log.info("%s is taken for %s(%s)", origin, found[0].__name__, told)
        return settings
    if not found:
        raise WeightsError(
            f"{origin} does not say which model it is of, and the names of its tensors are those "
            "of none that is known: name it with --network, or give a model, as in "
            "Predictor.from_checkpoint(path, model=MyModel())"
        )
    names = [cls.__name__ for cls in found]
    raise WeightsError(
        f"{origin} has SAM's names, which {', '.join(names[:-1])} and {names[-1]} share, and does "
        f"not say which model it is of: add --network {names[0]}, or --network {names[1]}, ...; in "
        "Python, Predictor.from_checkpoint(path, model=MedSAM())"
    )


def sizes(
    state_dict: Mapping[str, Tensor],
    cls: type[PromptableModel],
    origin: str = "the state dict",
) -> dict[str, Any]:
    """Return those arguments of a model's class that the shapes of its weights tell.

    Not among them is what leaves no trace, such as the fusion of a SyncSAM.

    Args:
        state_dict: tensors by the names of a layout that the class knows.
        cls: the class; of one that is not this package's own nothing can be told.
        origin: what to call the weights in an error.

    Raises:
        WeightsError: what is left shows that a part of the model is missing.
    """
    read = _READERS.get(cls)
    layout = find_layout(state_dict, (), cls.layouts)
    if read is None or layout is None:
        return {}
    named = ((layout.to_ours(key), tuple(tensor.shape)) for key, tensor in state_dict.items())
    try:
        return read({key: shape for key, shape in named if key is not None})
    except _PartMissingError as error:
        raise WeightsError(
            f"{origin} {error}, so that its masks would be arbitrary: it is a part of the weights "
            "only; save or fetch them whole"
        ) from error


def _candidates(names: Sequence[str]) -> Sequence[type[PromptableModel]]:
    """Return the classes whose published weights have these names."""
    if any(".Adapter." in name for name in names):
        return (SAMMed2D,)
    if any(name.startswith("mask_decoder.semantic_tokens.") for name in names):
        return (IMISNet,)
    # SyncSAM, which knows SAM's names too, comes after it.
    groups: tuple[Sequence[type[PromptableModel]], ...] = (
        (ScribblePromptUNet,),
        _UNDER_SAMS_NAMES,
        (SyncSAM,),
    )
    for group in groups:
        if find_layout(names, (), group[0].layouts) is not None:
            return group
    return ()


def _path(cls: type[PromptableModel]) -> str:
    return f"syncsam_lightning.models.{cls.__name__}"


def _sizes_of_vit(shapes: Shapes, place: str) -> dict[str, Any]:
    """Read the sizes of a ViT whose names begin with ``place``; what isn't there is left out."""
    found: dict[str, Any] = {}
    positions = shapes.get(f"{place}pos_embed", ())
    if len(positions) == 4:
        found["image_size"] = PATCH_SIZE * positions[1]
        found["vit_width"] = positions[3]
    depth = _count(shapes, f"{place}blocks.")
    relative = shapes.get(f"{place}blocks.0.attn.rel_pos_h", ())
    if depth and len(relative) == 2 and relative[1] and "vit_width" in found:
        found["vit_depth"] = depth
        found["vit_heads"] = found["vit_width"] // relative[1]
        if depth > NUM_STAGES:  # else every block is the last of a stage, which has no windows
            found["window_size"] = (relative[0] + 1) // 2  # from -(w - 1) to w - 1
    return found


def _count(shapes: Shapes, prefix: str) -> int:
    """Return how many numbers follow a prefix in the names."""
    behind = [key.removeprefix(prefix) for key in shapes if key.startswith(prefix)]
    return len({rest.partition(".")[0] for rest in behind})


def _sam(shapes: Shapes) -> dict[str, Any]:
    return _sizes_of_vit(shapes, "image_encoder.")


def _imis(shapes: Shapes) -> dict[str, Any]:
    found = _sizes_of_vit(shapes, "image_encoder.vit.")
    neck = shapes.get("image_encoder.neck.0.weight", ())
    if len(neck) == 4:
        found["embed_dim"] = neck[0]
    return found


def _syncsam(shapes: Shapes) -> dict[str, Any]:
    def has(*parts: str) -> bool:
        return any(key.startswith(parts) for key in shapes)

    found = _sizes_of_vit(shapes, "image_encoder.vit.")
    cnn = "image_encoder.cnn.layer1."
    if not has("image_encoder.vit.", "image_encoder.cnn."):
        raise _PartMissingError("holds no image encoder of a SyncSAM")
    # A SyncSAM without a CNN has nothing to adapt.
    if has("image_encoder.adapters.") and not has("image_encoder.cnn."):
        raise _PartMissingError("holds the adapters of a CNN, but not the CNN itself")
    number = _count(shapes, cnn)
    if f"{cnn}0.conv3.weight" in shapes:
        found["cnn"] = "resnet50"
    elif not has("image_encoder.cnn."):
        found["cnn"] = "none"
    else:
        found["cnn"] = "resnet18" if number == 2 else "resnet34"
    if not has("image_encoder.vit."):
        found["vit"] = "none"
        neck = shapes.get("image_encoder.neck.0.weight", ())
        if len(neck) == 4:
            found |= {"vit_width": neck[1], "vit_heads": 1}  # heads of no ViT
    # By each of their parts: what lacks one of them is incomplete, and no ablation.
    found["med_token"] = has(
        "mask_decoder.med_token.", "mask_decoder.med_mlp.", "mask_decoder.mask_features."
    )
    found["multi_scale"] = has("image_encoder.bridges.", "image_encoder.embedding_encoder.")
    return found


def _unet(shapes: Shapes) -> dict[str, Any]:
    found: dict[str, Any] = {"depth": _count(shapes, "downs.")}
    last = shapes.get("final_conv.conv.0.weight", ())
    if len(last) == 4:
        found["width"] = last[1]
    return found


_READERS: dict[type[PromptableModel], Callable[[Shapes], dict[str, Any]]] = {
    **dict.fromkeys((*_UNDER_SAMS_NAMES, SAMMed2D), _sam),
    IMISNet: _imis,
    SyncSAM: _syncsam,
    ScribblePromptUNet: _unet,
}
