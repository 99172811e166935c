"""A model's weights under the names of another program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models.layout import Layout
from syncsam_lightning.models.promptable import PromptableModel
from syncsam_lightning.models.weights.report import abridge

OFFICIAL = "official"
"""Stands for the layout of the program that a model was published with."""


@dataclass(frozen=True, slots=True)
class RenamedWeights:
    """Weights under the names of a layout.

    Args:
        layout: whose names they have.
        state_dict: the tensors.
        left_out: our names of tensors that have no place in the layout.
        renamed: how many tensors have another name than here.
    """

    layout: Layout
    state_dict: Mapping[str, Tensor]
    left_out: tuple[str, ...]
    renamed: int

    def summary(self) -> str:
        """Return one line for each outcome that occurred."""
        lines = [
            f"layout {self.layout.name} ({self.layout.description}): {len(self.state_dict)} "
            f"tensors, {self.renamed} of them renamed"
        ]
        if self.left_out:
            lines.append(f"no place for {len(self.left_out)}: {abridge(self.left_out)}")
        if self.layout.unused:
            lines.append(
                f"the official file also holds {', '.join(self.layout.unused)}, which the model "
                "does without: programs that insist on them need their own"
            )
        return "\n".join(lines)


def find_named_layout(model: PromptableModel, name: str) -> Layout:
    """Return one of a model's layouts by name.

    Args:
        model: that knows the layouts.
        name: of a layout, or ``official``: the layout of the program that the model was published
            with.

    Raises:
        WeightsError: it has no such layout.
    """
    if name == OFFICIAL:
        return model.layouts[0]
    for layout in model.layouts:
        if layout.name == name:
            return layout
    known = "; ".join(f"{layout.name}: {layout.description}" for layout in model.layouts)
    raise WeightsError(
        f"{type(model).__name__} has no layout {name!r}; known are {OFFICIAL}, and {known}"
    )


def rename_weights(model: PromptableModel, name: str = OFFICIAL) -> RenamedWeights:
    """Return all weights of a model, frozen ones too, under the names of a layout.

    Args:
        model: is left as it is; the tensors are its own.
        name: see :func:`find_named_layout`.

    Raises:
        WeightsError: there is no such layout, or two tensors would get the same name.
    """
    layout = find_named_layout(model, name)
    renamed: dict[str, Tensor] = {}
    left_out, changed = [], 0
    for key, tensor in model.state_dict().items():
        theirs = layout.from_ours(key)
        # What another part of theirs is called must not be given to something else.
        if theirs is None or theirs.startswith(layout.unused) or layout.to_ours(theirs) != key:
            left_out.append(key)
            continue
        if theirs in renamed:
            raise WeightsError(f"layout {layout.name} calls two tensors {theirs!r}")
        renamed[theirs] = tensor
        changed += theirs != key
    return RenamedWeights(layout, renamed, tuple(left_out), changed)


def check_round_trip(
    model: PromptableModel, renamed: RenamedWeights, read_back: Mapping[str, Tensor]
) -> None:
    """Check that weights that were written are the model's, bit for bit, once renamed back.

    Args:
        model: whose weights were written.
        renamed: what was to be written.
        read_back: what is in the file.

    Raises:
        WeightsError: a tensor is missing, is another, or has another type.
    """
    own = model.state_dict()
    back = {renamed.layout.to_ours(key): tensor for key, tensor in read_back.items()}
    for key in own.keys() - set(renamed.left_out):
        found = back.get(key)
        if found is None or found.dtype != own[key].dtype or not _equal(found, own[key]):
            raise WeightsError(f"{key} is not what was written: is the disk or the memory damaged?")
    if len(back) != len(own) - len(renamed.left_out):
        raise WeightsError("the file holds other tensors than were written")


def _equal(first: Tensor, second: Tensor) -> bool:
    """Compare bits, so that NaN equals NaN and 0 does not equal -0."""
    if first.shape != second.shape:
        return False
    as_bytes = [
        t.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for t in (first, second)
    ]
    return torch.equal(*as_bytes)
