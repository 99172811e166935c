"""A checkpoint read as a config, so that `syncsam test --ckpt_path x.ckpt` needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from syncsam_lightning.cli.arguments import config_values, option_values
from syncsam_lightning.cli.given import GivenSettings
from syncsam_lightning.errors import ModelSettingsError, SyncSAMError, WeightsError
from syncsam_lightning.models.settings import ModelSettings
from syncsam_lightning.models.size_limit import SizeLimit
from syncsam_lightning.models.weights.checkpoint_file import read_checkpoint
from syncsam_lightning.models.weights.slim_checkpoint import CHECKSUM_KEY

_PARTS = {"model": "hyper_parameters", "data": "datamodule_hyper_parameters"}
_BOOKKEEPING = ("_instantiator", "_class_path", "_class_name", "__path__")
_LIGHTNINGS = ("state_dict", "pytorch-lightning_version")
_KEYWORDS = ("best", "last", "hpc", "null")
REBUILDING_COMMANDS = ("validate", "test", "predict")
"""Commands that take model and data from the checkpoint when nothing else names them."""


class CheckpointConfigError(SyncSAMError):
    """A checkpoint can't be read, or doesn't say how to rebuild what it holds."""


def checkpoint_config(path: str | Path) -> dict[str, Any]:
    """Return what a checkpoint says about its model and data, in the shape of a config file.

    Only plain values are loaded (``weights_only=True``), and the weights stay on disk.

    Args:
        path: a checkpoint that ``syncsam fit`` wrote.

    Returns:
        a mapping with ``model`` and ``data``, either absent when the checkpoint doesn't have it.

    Raises:
        CheckpointConfigError: the file is no such checkpoint.
        ModelSettingsError: it asks for a larger model than it holds weights for.
    """
    try:
        checkpoint = read_checkpoint(Path(path))
    except WeightsError as error:
        raise CheckpointConfigError(
            f"{path} cannot be read as a checkpoint (--debug shows why): "
            "give the path of a .ckpt file that `syncsam fit` wrote"
        ) from error
    if not isinstance(checkpoint, Mapping):
        raise CheckpointConfigError(
            f"{path} holds a {type(checkpoint).__name__}, not a checkpoint of `syncsam fit`"
        )
    if missing := [key for key in _LIGHTNINGS if key not in checkpoint]:
        raise CheckpointConfigError(
            f"{path} is no checkpoint of `syncsam fit`: it has no {' and no '.join(missing)}; "
            "weights alone are loaded with syncsam_lightning.models.load_weights"
        )
    config: dict[str, Any] = {}
    for part, key in _PARTS.items():
        found = checkpoint.get(key) or {}
        if not isinstance(found, Mapping):
            raise CheckpointConfigError(
                f"{path}: {key} holds a {type(found).__name__}, not settings by name"
            )
        if settings := dict(found):
            class_path = settings.get("_class_path")
            settings = {k: v for k, v in settings.items() if k not in _BOOKKEEPING}
            config[part] = (
                {"class_path": class_path, "init_args": settings} if class_path else settings
            )
    _check_size(config.get("model", {}).get("network"), checkpoint, str(path))
    return config


def _check_size(network: Any, checkpoint: Mapping[str, Any], path: str) -> None:
    try:
        settings = ModelSettings.from_config(network, path)
    except ModelSettingsError:  # the parser tells better what is wrong with it
        return
    weights = checkpoint["state_dict"]
    # Other classes than ours are not imported yet, and the user's own.
    if settings.is_ours and isinstance(weights, Mapping):
        limit = SizeLimit.of(weights, without_frozen=CHECKSUM_KEY in checkpoint)
        settings.check_size(path, limit)


def with_checkpoint_config(args: Sequence[str], link_targets: Sequence[str]) -> list[str]:
    """Put a checkpoint's settings in front of the user's own, so that the user's win.

    Args:
        args: command and options. Only ``validate``, ``test`` and ``predict`` with a
            ``--ckpt_path`` that is a file are changed.
        link_targets: names of data arguments that follow from the model and may not be given.

    Returns:
        the arguments with one more ``--config`` directly after the command.

    Raises:
        CheckpointConfigError: the checkpoint doesn't exist or can't be read; or a part is neither
            in it nor given.
    """
    paths = option_values(args, "--ckpt_path")
    if not paths or paths[-1] in _KEYWORDS or "://" in paths[-1]:
        return list(args)
    path = Path(paths[-1])
    if not path.exists():
        raise CheckpointConfigError(f"checkpoint {path} does not exist (looked in {Path.cwd()})")
    if not path.is_file():
        return list(args)
    config = checkpoint_config(path)
    if args[0] not in REBUILDING_COMMANDS:
        return list(args)
    for name in link_targets:
        config.get("data", {}).get("init_args", {}).pop(name, None)
    # A class named on the command line replaces the checkpoint's, arguments and all: the one in
    # the checkpoint may not even be installed here.
    for part in _PARTS:
        if option_values(args, f"--{part}"):
            config.pop(part, None)
    data = GivenSettings(args).class_name("data")
    if data is not None and not _names(data, config.get("data", {}).get("class_path")):
        # What both classes have (a root, a batch size, augmentation) was meant for the other data.
        config.pop("data", None)
    if network := option_values(args, "--model.network"):
        config.get("model", {})["network"] = {"class_path": network[-1]}
    missing = [part for part in _PARTS if part not in config and not _is_given(args, part)]
    if missing and not config_values(args):
        raise CheckpointConfigError(
            f"{path} does not say how to rebuild {' and '.join(missing)} (it was not written by "
            "`syncsam fit`): add --config FILE"
            + ("" if missing == ["model"] else " or --data CLASS")
        )
    return [args[0], "--config", json.dumps(config), *args[1:]]


def _names(name: str, class_path: object) -> bool:
    """Return whether a class may be meant, which users name with or without its module."""
    return isinstance(class_path, str) and name in (class_path, class_path.rpartition(".")[2])


def _is_given(args: Sequence[str], part: str) -> bool:
    return any(arg.startswith((f"--{part}=", f"--{part}.")) or arg == f"--{part}" for arg in args)
