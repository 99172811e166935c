"""Checkpoints without the weights that training never changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models.promptable import PromptableModel

CHECKSUM_KEY = "frozen_checksum"
_STATES = ("state_dict", "current_model_state")  # the second is that of weight averaging


def leave_frozen_out(
    checkpoint: dict[str, Any], model: PromptableModel, *, prefix: str, checksum: str
) -> None:
    """Take the frozen weights out of a checkpoint and name them by their checksum.

    Args:
        checkpoint: is changed in place.
        model: whose weights it holds.
        prefix: of the model's keys in the checkpoint.
        checksum: of the frozen weights.
    """
    frozen = {prefix + key for key in model.frozen_keys()}
    for state in _STATES:
        if state in checkpoint:
            checkpoint[state] = {k: v for k, v in checkpoint[state].items() if k not in frozen}
    checkpoint[CHECKSUM_KEY] = checksum


def put_frozen_back(
    checkpoint: dict[str, Any], model: PromptableModel, *, prefix: str, checksum: str
) -> None:
    """Complete a checkpoint with the frozen weights of a model, so that it loads strictly.

    Args:
        checkpoint: is changed in place.
        model: whose frozen weights are loaded already.
        prefix: of the model's keys in the checkpoint.
        checksum: of the model's frozen weights.

    Raises:
        WeightsError: the checkpoint was trained on other frozen weights, or is that of another
            network.
    """
    trained_on = checkpoint.get(CHECKSUM_KEY, checksum)
    if trained_on != checksum:
        raise WeightsError(
            "the checkpoint was trained on other frozen weights (SHA-256 "
            f"{_short(trained_on)}) than those loaded now ({_short(checksum)}): set "
            "model.sam_checkpoint to what it was trained with, and the same frozen parts"
        )
    own: Mapping[str, torch.Tensor] = model.state_dict()
    frozen = {prefix + key: own[key] for key in model.frozen_keys()}
    for state in _STATES:
        if state in checkpoint:
            checkpoint[state] = {**frozen, **checkpoint[state]}
            # What a module has beside its network, such as a loss with buffers, is left to the
            # strict loading that follows.
            of_network = {
                key.removeprefix(prefix): value
                for key, value in checkpoint[state].items()
                if key.startswith(prefix)
            }
            _check_fits(of_network, own)


def _check_fits(state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> None:
    missing = [key for key in own if key not in state]
    unknown = [key for key in state if key not in own]
    differ = [key for key in own if key in state and state[key].shape != own[key].shape]
    parts = [
        f"{len(keys)} {what} ({keys[0]}{shapes})"
        for keys, what, shapes in (
            (missing, "missing", ""),
            (unknown, "unknown to it", ""),
            (differ, "of another shape", _shapes(differ, state, own)),
        )
        if keys
    ]
    if parts:
        raise WeightsError(
            f"the checkpoint is that of another network than model.network: {', '.join(parts)}; "
            "use the network's settings that it was trained with"
        )


def _shapes(
    keys: Sequence[str], state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]
) -> str:
    return f": {tuple(state[keys[0]].shape)}, here {tuple(own[keys[0]].shape)}" if keys else ""


def _short(checksum: str) -> str:
    return f"{checksum[:12]}…" if checksum else "none"
