"""Saying by which settings a network differs from that of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from syncsam_lightning.errors import ModelSettingsError, WeightsError
from syncsam_lightning.models import PromptableModel
from syncsam_lightning.models.settings import ModelSettings
from syncsam_lightning.training.callbacks.changed_settings import differences

_NETWORK = "model.network"
_RECOMPUTE = f"{_NETWORK}.recompute"  # how, not what


@contextmanager
def settings_named(checkpoint: Mapping[str, Any], network: PromptableModel) -> Iterator[None]:
    """Name the settings that differ where a checkpoint's weights turn out not to fit a network.

    Weights tell by their shapes and checksums only that they are others.

    Args:
        checkpoint: which holds the settings of its network if `syncsam fit` wrote it.
        network: that is given the weights.

    Raises:
        WeightsError: instead of one from within, if the settings explain it.
    """
    try:
        yield
    except WeightsError as error:
        if not (changed := _changed(checkpoint, network)):
            raise
        named = "; ".join(f"{name} was {old!r} and is {new!r} now" for name, old, new in changed)
        raise WeightsError(
            f"the checkpoint was trained with another network: {named}. Give the checkpoint's "
            f"values to go on from it, or train a new one without it ({error})"
        ) from error


def _changed(checkpoint: Mapping[str, Any], network: PromptableModel) -> list[tuple[str, Any, Any]]:
    try:
        content = checkpoint.get("hyper_parameters", {}).get("network")
        old = ModelSettings.from_config(content, "the checkpoint")
        new = ModelSettings.of(network)
    except ModelSettingsError:  # of a script, which builds networks as it likes
        return []
    if old.class_path.rpartition(".")[2] != new.class_path.rpartition(".")[2]:
        return [(_NETWORK, old.class_path, new.class_path)]
    found = differences(old.init_args, new.init_args, _NETWORK)
    return sorted((change for change in found if change[0] != _RECOMPUTE), key=lambda one: one[0])
