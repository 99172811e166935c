"""A model as a folder: ``model.safetensors``, ``config.json`` and a card.

The weights are whole: what training left frozen (SAM's ViT) is among them, under our names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from torch import Tensor

from syncsam_lightning import __version__
from syncsam_lightning.errors import HubError, WeightsError
from syncsam_lightning.models import PromptableModel, weights_checksum
from syncsam_lightning.models.promptable import Feedback
from syncsam_lightning.models.settings import ModelSettings
from syncsam_lightning.models.size_limit import SizeLimit
from syncsam_lightning.models.weights.finite import check_finite
from syncsam_lightning.models.weights.frozen import state_checksum
from syncsam_lightning.models.weights.safetensors_file import read_safetensors, write_safetensors
from syncsam_lightning.volumes.windows import UnknownWindowError, parse_window
from syncsam_lightning.whole_files import work_folder

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
_FORMAT = 1
# Of which the package of programs is not known here, nor needed.
_PROGRAMS = ("encoder.onnx", "encoder.pt2")


@dataclass(frozen=True, slots=True)
class PretrainedModel:
    """A model that was read from a folder.

    Args:
        model: in eval mode, on the CPU.
        config: what ``config.json`` says.
    """

    model: PromptableModel
    config: Mapping[str, Any] = field(default_factory=dict)


def write_folder(
    model: PromptableModel, folder: Path, *, card: str | None = None, windows: Sequence[str] = ()
) -> None:
    """Write a model's weights, all of them, and what builds it again.

    Each file appears whole or not at all, ``config.json`` last.

    Args:
        model: on any device.
        folder: is made if need be.
        card: text of ``README.md``; None: a README that is there stays.
        windows: that the model saw volumes with in training, each as
            :func:`~syncsam_lightning.volumes.parse_window` takes it; none: nothing is known of it.

    Raises:
        HubError: the folder can't be written.
        MissingPackageError: ``safetensors`` is not installed.
        ModelSettingsError: the model was built with arguments that JSON can't hold.
    """
    settings = ModelSettings.of(model)
    config = {
        "library_name": "syncsam-lightning",
        "format": _FORMAT,
        "version": __version__,
        "model": {"class_path": settings.class_path, "init_args": dict(settings.init_args)},
        "image_size": model.input_spec.size,
        "image_fit": model.input_spec.fit,
        "prompts": sorted(model.input_spec.prompts),
        "feedback": model.input_spec.feedback,
        "windows": list(windows),
        "weights_sha256": weights_checksum(model),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with work_folder(folder) as work:
            write_safetensors(model.state_dict(), work / WEIGHTS)
            if card is not None:
                (work / CARD).write_text(card, encoding="utf-8")
            text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
            (work / CONFIG).write_text(text, encoding="utf-8")
            for file in (WEIGHTS, CARD, CONFIG):
                if (work / file).exists():
                    (work / file).replace(folder / file)
    except OSError as error:
        raise HubError(f"the model could not be written to {folder}: {error}") from error


def read_folder(folder: Path) -> PretrainedModel:
    """Build the model of a folder and load its weights; nothing that the folder holds is executed.

    Raises:
        HubError: a file is missing, damaged, or is that of another program or of a newer version;
            or the weights are not finite, or not those that ``config.json`` was written for.
        MissingPackageError: ``safetensors`` is not installed.
        ModelSettingsError: the model can't be built.
    """
    config = read_config(folder)
    origin = str(folder / CONFIG)
    settings, weights = ModelSettings.from_config(config["model"], origin), _read_weights(folder)
    settings.check_size(origin, SizeLimit.of(weights))
    model = settings.build(origin)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise HubError(
            f"{folder / WEIGHTS} does not hold the weights of {CONFIG}: {reason}"
        ) from error
    # Of the model, not of the file: one of another precision would have been rounded.
    _check(weights_checksum(model), folder, config)
    model.input_spec = replace(model.input_spec, feedback=config["feedback"])
    return PretrainedModel(model.eval(), config)


def checked_weights(folder: Path) -> Path:
    """Return where a folder's weights are, once they are those that its config was written for.

    Raises:
        HubError: as :func:`read_folder` does; the model is not built.
        MissingPackageError: ``safetensors`` is not installed.
    """
    config = read_config(folder)
    _check(state_checksum(_read_weights(folder)), folder, config)
    return folder / WEIGHTS


def _read_weights(folder: Path) -> Mapping[str, Tensor]:
    path = folder / WEIGHTS
    if not path.is_file():
        raise HubError(f"{path} does not exist: the folder has no weights")
    try:
        weights = read_safetensors(path)
        check_finite(weights, str(path))
    except WeightsError as error:
        raise HubError(str(error)) from error
    return weights


def _check(checksum: str, folder: Path, config: Mapping[str, Any]) -> None:
    if checksum != (config.get("weights_sha256") or checksum):
        raise HubError(
            f"{folder / WEIGHTS} holds other weights than {CONFIG} was written for (their SHA-256 "
            "differs): fetch or export both again"
        )


def read_config(folder: Path) -> Mapping[str, Any]:
    """Read what a folder says about its model; ``feedback`` and ``windows`` are always there.

    Raises:
        HubError: it has no such file, or that of another program or of a newer version.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if any((folder / name).exists() for name in _PROGRAMS):
            raise HubError(
                f"{folder} holds programs of `syncsam export onnx` or `torch`, not weights: give "
                "the checkpoint that they were exported from, or run them by OnnxModel or "
                "ProgramModel of syncsam_lightning.exporting, or docs/onnx_pair.py"
            ) from error
        raise HubError(
            f"{path} does not exist: give a folder that `syncsam export safetensors` wrote, "
            "or a repository of such files"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise HubError(f"{path} can't be read: {error}") from error
    if not isinstance(config, dict) or "format" not in config or "model" not in config:
        raise HubError(f"{path} is the config of another program: it names no format and model")
    if config["format"] != _FORMAT:
        raise HubError(
            f"{path} has format {config['format']!r}, this version reads {_FORMAT}: use the "
            f"version that wrote it ({config.get('version', 'unknown')}) or a newer one"
        )
    known = get_args(Feedback)
    feedback = config.setdefault("feedback", known[0])
    if feedback not in known:
        raise HubError(f"{path}: feedback must be one of {', '.join(known)}, got {feedback!r}")
    _check_windows(config.setdefault("windows", []), path)  # of an earlier version: none
    return config


def _check_windows(windows: Any, path: Path) -> None:
    if not isinstance(windows, list) or not all(isinstance(name, str) for name in windows):
        raise HubError(
            f"{path}: windows must be a list of names such as soft_tissue, got {windows!r}"
        )
    try:
        for name in windows:
            parse_window(name)
    except UnknownWindowError as error:
        raise HubError(f"{path}: windows: {error}; a newer version may know it") from error
