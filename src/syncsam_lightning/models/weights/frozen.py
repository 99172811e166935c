"""Weights that training never changes: naming them by a checksum, or drawing them from a seed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from syncsam_lightning.models.promptable import PromptableModel
from syncsam_lightning.seeding import stable_key

_EMBEDDING_STD = 1.0
_POSITION_STD = 0.02


def frozen_checksum(model: PromptableModel) -> str:
    """Return the SHA-256 of all frozen tensors (names, dtypes, shapes, bytes), as hexadecimal.

    A checkpoint that leaves the frozen weights out names them by it. Empty if nothing is frozen.
    """
    state = model.state_dict()
    frozen = {key: state[key] for key in model.frozen_keys()}
    return state_checksum(frozen) if frozen else ""


def weights_checksum(model: PromptableModel) -> str:
    """Return the SHA-256 of all tensors, frozen and trained; a result names the model by it."""
    return state_checksum(model.state_dict())


def state_checksum(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors by name; it does not depend on their order."""
    digest = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@torch.no_grad()
def initialise_frozen(
    model: PromptableModel, seed: int = 0, *, keys: Collection[str] | None = None
) -> None:
    """Draw frozen tensors as a pure function of ``seed`` and the tensor's name.

    For what no file provides: since checkpoints leave frozen tensors out, they must come back the
    same when such a run is resumed or tested. Global random state is not touched.

    Args:
        model: is changed in place.
        seed: of the values.
        keys: names of the frozen tensors to draw; None: all of them.
    """
    state = model.state_dict()
    for key in sorted(model.frozen_keys() if keys is None else keys):
        owner, _, leaf = key.rpartition(".")
        generator = torch.Generator().manual_seed(stable_key("frozen", seed, key))
        state[key].copy_(_draw(model.get_submodule(owner), leaf, state[key], generator))


def _draw(owner: nn.Module, leaf: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """Return starting values under which activations keep their scale."""
    if leaf in ("bias", "running_mean", "num_batches_tracked"):
        return torch.zeros(like.shape, dtype=like.dtype)
    if leaf == "running_var" or (leaf == "weight" and like.ndim == 1):  # norms start as identity
        return torch.ones(like.shape)
    if isinstance(owner, nn.ConvTranspose2d):  # stride = kernel: each output sees one tap
        std = 1 / math.sqrt(like.shape[0])
    elif isinstance(owner, (nn.Linear, nn.Conv2d)):
        std = 1 / math.sqrt(like[0].numel())
    elif leaf in ("pos_embed", "rel_pos_h", "rel_pos_w"):
        std = _POSITION_STD
    else:
        std = _EMBEDDING_STD
    return torch.randn(like.shape, generator=generator) * std
