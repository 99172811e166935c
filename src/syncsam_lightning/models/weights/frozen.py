"""Identity of the frozen weights, which checkpoints leave out."""

from __future__ import annotations

import hashlib

import torch

from syncsam_lightning.models.promptable import PromptableModel
from syncsam_lightning.seeding import stable_key


def frozen_checksum(model: PromptableModel) -> str:
    """Return the SHA-256 of all frozen tensors (names, shapes and values), ``""`` if none is."""
    keys = model.frozen_keys()
    if not keys:
        return ""
    state, digest = model.state_dict(), hashlib.sha256()
    for key in sorted(keys):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def initialise_frozen(model: PromptableModel, *, seed: int = 0) -> None:
    """Fill the frozen tensors with values that depend on their names and ``seed`` alone.

    For runs that were told to do without pretrained weights: resuming and testing then find the
    same frozen part again. Matrices get N(0, 0.02²), one-dimensional ``weight`` and running
    variances one, all else zero.
    """
    state = model.state_dict()
    for key in sorted(model.frozen_keys()):
        tensor = state[key]
        if not tensor.is_floating_point():
            tensor.zero_()
        elif tensor.ndim > 1:
            generator = torch.Generator().manual_seed(stable_key("frozen", seed, key))
            tensor.copy_(0.02 * torch.randn(tensor.shape, generator=generator))
        else:
            tensor.fill_(1.0 if key.endswith(("weight", "running_var")) else 0.0)
