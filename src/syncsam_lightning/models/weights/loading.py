"""Loading a checkpoint of any known layout into a model, with a report of what happened."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models.promptable import PromptableModel
from syncsam_lightning.models.weights.layouts import recognise
from syncsam_lightning.models.weights.relative_position import (
    resize_position_embedding,
    resize_relative_position,
)

StateDict = Mapping[str, Tensor]

_POSITION = re.compile(r"image_encoder\.vit\.pos_embed$")
_RELATIVE = re.compile(r"image_encoder\.vit\.blocks\.\d+\.attn\.rel_pos_[hw]$")
_CONTAINERS = ("state_dict", "model", "model_state_dict")


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of a checkpoint.

    Args:
        layout: name of the layout that was recognised.
        loaded: our names of the tensors that were loaded, resized ones included.
        missing: tensors of the model that the checkpoint does not have; they keep their values.
        unexpected: the checkpoint's own names of tensors that the model has no place for.
        resized: our names of position tables that were resampled to the model's image size.
    """

    layout: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    resized: tuple[str, ...]

    def summary(self) -> str:
        """Return the report in one line."""
        return (
            f"{self.layout}: {len(self.loaded)} tensors loaded ({len(self.resized)} of them "
            f"resized), {len(self.missing)} missing, {len(self.unexpected)} unexpected"
        )


def load_weights(model: PromptableModel, source: str | os.PathLike[str] | StateDict) -> LoadReport:
    """Load a checkpoint of a known layout.

    Known are Meta's SAM ViT-B (of any image size: the absolute position embedding and the relative
    position tables of the blocks with global attention are interpolated, those of windowed blocks
    are independent of the size), the predecessor SAM-UNet, and our own state dicts and Lightning
    checkpoints.

    Args:
        model: is changed in place.
        source: path of a checkpoint, or a state dict.

    Returns:
        what was loaded, missing, unexpected and resized.

    Raises:
        WeightsError: the file can't be read, its layout is unknown, a tensor has a shape that does
            not fit, or nothing in it belongs to this model. The model is then unchanged.
    """
    state = source if isinstance(source, Mapping) else read_state_dict(source)
    own = model.state_dict()
    layout = recognise(state.keys(), own_keys=own.keys())
    fitting: dict[str, Tensor] = {}
    unexpected, resized = [], []
    for key, value in state.items():
        name = layout.rename(key)
        if name not in own:
            unexpected.append(key)
            continue
        fitted = _fit(name, value, own[name].shape)
        if fitted is None:
            raise WeightsError(
                f"{key} has shape {tuple(value.shape)}, but the model's {name} is "
                f"{tuple(own[name].shape)}: build the model with the arguments it was trained with"
            )
        if fitted.shape != value.shape:
            resized.append(name)
        fitting[name] = fitted
    if not fitting:
        raise WeightsError(
            f"no tensor of this {layout.name} checkpoint belongs to {type(model).__name__}"
        )
    model.load_state_dict(fitting, strict=False)
    return LoadReport(
        layout=layout.name,
        loaded=tuple(fitting),
        missing=tuple(name for name in own if name not in fitting),
        unexpected=tuple(unexpected),
        resized=tuple(resized),
    )


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint file, without executing anything in it.

    Args:
        path: a bare state dict, or a file that holds one under ``state_dict``, ``model`` or
            ``model_state_dict``.

    Raises:
        WeightsError: the file is missing, is no checkpoint, or holds more than plain data.
    """
    file = Path(path)
    if not file.is_file():
        raise WeightsError(f"checkpoint {file} does not exist (looked in {Path.cwd()})")
    try:
        content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{file} cannot be read as a checkpoint of plain tensors ({type(error).__name__}): "
            "it is damaged, no checkpoint, or holds pickled objects, which are never executed here"
        ) from error
    for container in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(container), Mapping):
            content = content[container]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{file} holds a {type(content).__name__}, not a state dict")
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{file} holds no tensors")
    return tensors


def _fit(name: str, value: Tensor, shape: torch.Size) -> Tensor | None:
    if value.shape == shape:
        return value
    if _POSITION.match(name) and value.ndim == 4 and value.shape[3] == shape[3]:
        return resize_position_embedding(value, (shape[1], shape[2]))
    if _RELATIVE.match(name) and value.ndim == 2 and value.shape[1] == shape[1]:
        return resize_relative_position(value, shape[0])
    return None
