"""A trained model, rebuilt from its checkpoint alone and without Lightning."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from syncsam_lightning.errors import ModelSettingsError, WeightsError
from syncsam_lightning.hub import (
    find_checkpoint,
    find_weights,
    read_config,
    read_folder,
)
from syncsam_lightning.interaction import Feedback
from syncsam_lightning.models import PromptableModel, frozen_checksum, load_weights
from syncsam_lightning.models.recognition import recognise
from syncsam_lightning.models.settings import ModelSettings
from syncsam_lightning.models.size_limit import SizeLimit
from syncsam_lightning.models.weights.checkpoint_file import read_checkpoint, unwrap_state_dict
from syncsam_lightning.models.weights.finite import check_finite
from syncsam_lightning.models.weights.pretrained import PretrainedWeights
from syncsam_lightning.models.weights.slim_checkpoint import CHECKSUM_KEY, put_frozen_back

log = logging.getLogger(__name__)

_PREFIX = "network."  # the attribute of the training module that holds the model


def load_trained(
    path: str | os.PathLike[str],
    model: PromptableModel | None = None,
    *,
    sam_checkpoint: str | os.PathLike[str] | None = None,
) -> PromptableModel:
    """Load a trained model, with nothing executed that its files hold.

    A checkpoint of ``syncsam fit`` says which model to build. It has no frozen weights: they come
    from where training took them, and their checksum must be that of training. A file of weights
    alone is recognised by its tensors (see :mod:`syncsam_lightning.models.recognition`), or needs
    ``model``; it must hold all weights of the model, and what else it holds is reported. A
    folder or a hub's repository (see :mod:`syncsam_lightning.hub`) has weights and settings whole;
    with ``model`` its weights go there instead of into a model of its own.

    Args:
        path: of the file or folder, or a repository's name, ``OWNER/NAME``.
        model: to load into; needed where the file neither says nor shows what to build. Changed in
            place.
        sam_checkpoint: where SAM's frozen weights are: ``auto``, a path or ``none`` (random ones);
            None: what the checkpoint was trained with.

    Returns:
        The model in eval mode, on the CPU or where it was; ``input_spec.feedback`` is what it was
        trained with.

    Raises:
        WeightsError: the file can't be read, no model is to be had for it, the weights do not fit
            or are not finite, or SAM's weights are not to be had.
        HubError: a folder or repository can't be read.
        MissingPackageError: a package of the extra ``hub`` is needed and not installed.
    """
    path = find_checkpoint(path)
    if path.is_dir():
        return _load_folder(path, model)
    content = read_checkpoint(path)
    settings = content.get("hyper_parameters") if isinstance(content, Mapping) else None
    settings = settings if isinstance(settings, Mapping) else {}
    if model is None:
        model = _build(content, settings.get("network"), path)
    if isinstance(content, Mapping) and CHECKSUM_KEY in content:
        _load_slim(content, model, settings, path, sam_checkpoint)
    else:
        _load_bare(path, model)
    feedback = (settings.get("episode") or {}).get("feedback", model.input_spec.feedback)
    if feedback not in get_args(Feedback):
        raise WeightsError(f"{path} was trained with the unknown feedback {feedback!r}")
    model.input_spec = replace(model.input_spec, feedback=feedback)
    return model.eval()


def _load_folder(folder: Path, model: PromptableModel | None) -> PromptableModel:
    if model is None:
        return read_folder(folder).model
    _load_bare(find_weights(folder), model)
    model.input_spec = replace(model.input_spec, feedback=read_config(folder)["feedback"])
    return model.eval()


def _load_slim(
    content: Mapping[str, Any],
    model: PromptableModel,
    settings: Mapping[str, Any],
    path: Path,
    sam_checkpoint: str | os.PathLike[str] | None,
) -> None:
    where = settings.get("sam_checkpoint", "auto") if sam_checkpoint is None else sam_checkpoint
    pretrained = PretrainedWeights(
        os.fspath(where),
        settings.get("cnn_weights", "none"),
        settings.get("weights"),
        find=find_weights,
    )
    pretrained.load(model, begins=False, untrained=False)
    state = {key: value for key, value in content["state_dict"].items() if key.startswith(_PREFIX)}
    check_finite(state, str(path))
    slim = {"state_dict": state, CHECKSUM_KEY: content[CHECKSUM_KEY]}
    try:
        put_frozen_back(slim, model, prefix=_PREFIX, checksum=frozen_checksum(model))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    whole = slim["state_dict"]
    model.load_state_dict({key.removeprefix(_PREFIX): value for key, value in whole.items()})


def _load_bare(path: Path, model: PromptableModel) -> None:
    report = load_weights(model, path)
    log.info("%s: %s", path, report.summary())
    if report.missing:
        raise WeightsError(
            f"{path} does not hold all weights of {type(model).__name__}, so that its masks would "
            f"be arbitrary ({report.summary()}): give the model that it was made with"
        )


def names_its_model(content: Any) -> bool:
    """Whether a checkpoint is one of ``syncsam fit``, which notes the model beside the weights.

    Args:
        content: what the file holds.
    """
    if not isinstance(content, Mapping):
        return False
    kept = content.get("hyper_parameters")
    return CHECKSUM_KEY in content or (isinstance(kept, Mapping) and "network" in kept)


def _build(content: Any, network: Any, path: Path) -> PromptableModel:
    """Build the model that a checkpoint names or, by its tensors, shows."""
    weights = unwrap_state_dict(content, str(path))
    try:
        if names_its_model(content):
            settings = ModelSettings.from_config(network, str(path))
        else:
            settings = recognise(weights, str(path))
        is_slim = isinstance(content, Mapping) and CHECKSUM_KEY in content
        settings.check_size(str(path), SizeLimit.of(weights, without_frozen=is_slim))
        return settings.build(str(path))
    except ModelSettingsError as error:
        raise WeightsError(
            f"{error}; or give a model, as in "
            "Predictor.from_checkpoint(path, model=SyncSAM(cnn='resnet34'))"
        ) from error
