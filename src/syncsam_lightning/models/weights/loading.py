"""Loading a checkpoint of any known layout into a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models.layout import Layout, find_layout
from syncsam_lightning.models.promptable import PromptableModel
from syncsam_lightning.models.weights.checkpoint_file import read_state_dict, unwrap_state_dict
from syncsam_lightning.models.weights.finite import check_finite
from syncsam_lightning.models.weights.relative_position import (
    is_position_table,
    resampling_rule,
    resize_position_table,
)
from syncsam_lightning.models.weights.report import LoadReport, abridge


def load_weights(
    model: PromptableModel,
    weights: str | os.PathLike[str] | Mapping[str, Tensor],
    *,
    strict: bool = False,
) -> LoadReport:
    """Load what a checkpoint holds into a model, and report what became of each tensor.

    Recognised by their names: the layouts that the model's class lists in
    :attr:`PromptableModel.layouts`, bare, or in a Lightning checkpoint whose model is called
    ``network``. Tables of positions are interpolated to the model's image size. Either everything
    that fits is loaded or, on an error, the model is left as it was.

    Args:
        model: changed in place; its device and dtype stay.
        weights: a file, read without executing anything in it, or a state dict.
        strict: raise if anything is missing or unexpected. What is known to be unused is neither.

    Raises:
        WeightsError: the file can't be read, its layout is unknown, a tensor has a shape that does
            not fit or holds NaN or infinities, or ``strict`` and the report would not be clean.
    """
    if isinstance(weights, Mapping):
        origin = "the state dict"
        state_dict = unwrap_state_dict(weights, origin)
    else:
        path = Path(weights).expanduser()
        origin = str(path)
        state_dict = read_state_dict(path)
    targets = model.state_dict()
    layout = find_layout(state_dict, targets, model.layouts)
    if layout is None:
        raise _unknown_layout(model, origin, tuple(state_dict))
    unused = tuple(key for key in state_dict if key.startswith(layout.unused))
    state_dict = {key: tensor for key, tensor in state_dict.items() if key not in unused}
    # By the file's names, which are those that a user looks for.
    check_finite(
        {key: state_dict[key] for key in state_dict if layout.to_ours(key) in targets}, origin
    )
    fitted, unexpected, resized = _fit(model, targets, state_dict, layout, origin)
    if not fitted:
        raise WeightsError(
            f"{origin} has the layout {layout.name!r}, but none of its tensors has a place in "
            f"{type(model).__name__}"
        )
    missing = tuple(key for key in targets if key not in fitted)
    if strict and (missing or unexpected):
        raise WeightsError(
            f"{origin} does not match {type(model).__name__} exactly: "
            f"missing {abridge(missing) or 'nothing'}; "
            f"unexpected {abridge(unexpected) or 'nothing'}"
        )
    model.load_state_dict(fitted, strict=False)
    return LoadReport(layout.name, tuple(fitted), missing, unexpected, resized, unused)


def _fit(
    model: PromptableModel,
    targets: Mapping[str, Tensor],
    state_dict: Mapping[str, Tensor],
    layout: Layout,
    origin: str,
) -> tuple[dict[str, Tensor], tuple[str, ...], tuple[str, ...]]:
    """Return the tensors by our names and in our shapes, what is unexpected, what was resized."""
    fitted: dict[str, Tensor] = {}
    unexpected, resized = [], []
    for key, tensor in state_dict.items():
        name = layout.to_ours(key)
        if name is None or name not in targets:
            unexpected.append(key)
            continue
        shape = tuple(targets[name].shape)
        if tuple(tensor.shape) != shape:
            changed = None
            if is_position_table(model, name):
                changed = resize_position_table(tensor, shape, resampling_rule(model, name))
            if changed is None:
                raise WeightsError(
                    f"{origin}: {key} has the shape {tuple(tensor.shape)}, but the model's {name} "
                    f"has {shape}; build the model with the sizes that the checkpoint was made for"
                )
            tensor = changed
            resized.append(name)
        fitted[name] = tensor
    return fitted, tuple(unexpected), tuple(resized)


def _unknown_layout(model: PromptableModel, origin: str, keys: tuple[str, ...]) -> WeightsError:
    known = "; ".join(layout.description for layout in model.layouts)
    return WeightsError(
        f"{origin} has a layout that {type(model).__name__} does not know. Known are: {known}. "
        f"Found: {abridge(keys)}"
    )
