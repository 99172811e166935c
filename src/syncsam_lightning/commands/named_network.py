"""The model that ``--network`` and ``--options`` name, for weights that don't say it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from syncsam_lightning.errors import ModelSettingsError
from syncsam_lightning.models import PromptableModel
from syncsam_lightning.models.recognition import sizes
from syncsam_lightning.models.settings import ModelSettings
from syncsam_lightning.models.size_limit import SizeLimit
from syncsam_lightning.models.weights.checkpoint_file import read_checkpoint, unwrap_state_dict
from syncsam_lightning.prediction.checkpoint import names_its_model


def named_network(
    network: str | None, options: dict[str, Any] | None, checkpoint: str
) -> PromptableModel | None:
    """Build the network that a user names, in the sizes of the weights that it is for.

    Args:
        network: name of a model of this package, or dotted name of a class; None: there is none.
        options: arguments of the network; they win over what the weights show.
        checkpoint: path of the weights, or what else names them; sizes are read of files of bare
            weights alone.

    Returns:
        The model, with random weights; None if none is named.

    Raises:
        ModelSettingsError: there is no such class, it refuses its arguments, options come
            without a network, or the file can't hold the model that it shows.
        WeightsError: the file can't be read.
    """
    if network is None:
        if options:
            raise ModelSettingsError("--options are arguments of --network, which is not given")
        return None
    class_path = network if "." in network else f"syncsam_lightning.models.{network}"
    try:
        importlib.import_module(class_path.rpartition(".")[0])
    except ImportError as error:
        raise ModelSettingsError(f"--network {network}: {error}") from error
    cls = ModelSettings(class_path).find_class("--network")
    shown: dict[str, Any] = {}
    path = Path(checkpoint).expanduser()
    if path.is_file() and not names_its_model(content := read_checkpoint(path)):
        weights = unwrap_state_dict(content, str(path))
        shown = sizes(weights, cls, str(path))
        if shown:
            ModelSettings(class_path, shown).check_size(str(path), SizeLimit.of(weights))
    return ModelSettings(class_path, {**shown, **(options or {})}).build("--network")
