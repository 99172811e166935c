"""The model that ``--network`` and ``--options`` name, for weights that don't say it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syncsam_lightning.errors import ModelSettingsError
from syncsam_lightning.hub import holds_its_settings
from syncsam_lightning.models import PromptableModel
from syncsam_lightning.models.recognition import recognise, sizes
from syncsam_lightning.models.settings import ModelSettings, public_models
from syncsam_lightning.models.size_limit import SizeLimit
from syncsam_lightning.models.weights.checkpoint_file import read_checkpoint, unwrap_state_dict
from syncsam_lightning.prediction.checkpoint import names_its_model


def named_network(
    network: str | None, options: dict[str, Any] | None, checkpoint: str
) -> PromptableModel | None:
    """Build the network that a user names, in the sizes of the weights that it is for.

    Args:
        network: name of a model of this package, or dotted name of a class; None: the one that the
            weights are recognised as.
        options: arguments of the network; they win over what the weights show.
        checkpoint: path of the weights, or what else names them; sizes are read of files of bare
            weights alone.

    Returns:
        The model, with random weights; None if nothing is to be known but what the checkpoint says.

    Raises:
        ModelSettingsError: there is no such class, it refuses its arguments, the checkpoint names
            its network itself, or the file can't hold the model that it shows.
        WeightsError: the file can't be read, or is not recognised.
    """
    if network is None and not options:
        return None
    cls = None if network is None else _find_class(network)
    path = Path(checkpoint).expanduser()
    if cls is not None and holds_its_settings(checkpoint):
        raise ModelSettingsError(
            f"{checkpoint} names its network with all settings: leave --network and --options out"
        )
    settings = ModelSettings("" if cls is None else _name(cls))
    if path.is_file():
        content = read_checkpoint(path)
        if names_its_model(content):
            if _needs_no_other(content, cls, options, path):
                return None
        else:
            settings = _shown(content, cls, path)
    if not settings.class_path:
        raise ModelSettingsError(
            f"--options are arguments of a network, but {checkpoint} names its own with all "
            "settings: leave --options out, or name another network with --network"
        )
    arguments = {**settings.init_args, **(options or {})}
    origin = "--options" if network is None else "--network"
    return ModelSettings(settings.class_path, arguments).build(origin)


def _find_class(network: str) -> type[PromptableModel]:
    """Return the class that a user names; its module is imported, as the user asks for it."""
    if "." in network:
        try:
            importlib.import_module(network.rpartition(".")[0])
        except ImportError as error:
            raise ModelSettingsError(f"--network {network}: {error}") from error
        return ModelSettings(network).find_class("--network")
    known = public_models()
    if network not in known:
        meant = next((name for name in known if name.lower() == network.lower()), None)
        hint = f"did you mean {meant}? Known" if meant else "known"
        raise ModelSettingsError(
            f"--network: there is no model {network!r}; {hint} are {', '.join(known)}, and any "
            "class of yours as package.module.Class"
        )
    return known[network]


def _name(cls: type[PromptableModel]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _shown(content: Any, cls: type[PromptableModel] | None, path: Path) -> ModelSettings:
    """Return what bare weights show of a network, or which one they are recognised as."""
    weights = unwrap_state_dict(content, str(path))
    if cls is None:
        settings = recognise(weights, str(path))
    else:
        settings = ModelSettings(_name(cls), sizes(weights, cls, str(path)))
    if settings.init_args:
        settings.check_size(str(path), SizeLimit.of(weights))
    return settings


def _needs_no_other(
    content: Mapping[str, Any],
    cls: type[PromptableModel] | None,
    options: Mapping[str, Any] | None,
    path: Path,
) -> bool:
    """Whether a checkpoint's own network is the one that is asked for.

    False: it is none that can be found here, so that the user's is taken.

    Raises:
        ModelSettingsError: it can be found, and is not what is asked for.
    """
    kept = content.get("hyper_parameters")
    try:
        named = ModelSettings.from_config(dict(kept or {}).get("network"), str(path))
        own = named.find_class(str(path))
    except ModelSettingsError:
        return False
    if options or cls is not own:
        raise ModelSettingsError(
            f"{path} is a checkpoint of `syncsam fit`, which names its network, {own.__name__}, "
            "with all settings: leave --network and --options out"
        )
    return True
