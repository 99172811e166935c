"""An exported model that answers like the model itself, computed by ONNX Runtime."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from syncsam_lightning.errors import ExportError
from syncsam_lightning.exporting.graphs import (
    DECODER_INPUTS,
    ENCODER_INPUTS,
    FEATURES,
    feature_tensors,
    prompt_tensors,
)
from syncsam_lightning.exporting.onnx_files import INPUT_KEYS, OnnxFiles, check_packages
from syncsam_lightning.models import ImageFeatures, InputSpec, PromptableModel
from syncsam_lightning.prompts import MixedPrompts, Prompts


class OnnxModel(PromptableModel):
    """A :class:`PromptableModel` of two ONNX files; measured and used as any other.

    Tensors come from and go to the CPU; gradients there are none.

    Args:
        folder: that holds ``encoder.onnx`` and ``decoder.onnx``.
        threads: that ONNX Runtime may use for one operator; 0: as many as it likes.
        providers: of ONNX Runtime, in the order of preference.

    Raises:
        ExportError: a file is missing or is none of ours.
        MissingPackageError: ONNX Runtime is not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        threads: int = 0,
        providers: Sequence[str] = ("CPUExecutionProvider",),
    ) -> None:
        super().__init__()
        check_packages()
        files = OnnxFiles.inside(Path(folder))
        self._encoder = _open(files.encoder, threads, providers)
        self._decoder = _open(files.decoder, threads, providers)
        # What asks a model on which device it is, asks its parameters.
        self.device_mark = nn.Parameter(torch.empty(0), requires_grad=False)
        self.input_spec = _input_spec(self._decoder, files.decoder)

    def encode(self, images: Tensor, sizes: Tensor | None = None) -> ImageFeatures:
        """See :meth:`PromptableModel.encode`."""
        self.check_images(images, sizes)
        if sizes is None:
            sizes = torch.full((len(images), 2), self.input_spec.size)
        found = _run(self._encoder, dict(zip(ENCODER_INPUTS, (images.float(), sizes), strict=True)))
        return ImageFeatures(*found)

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        """See :meth:`PromptableModel.decode`."""
        self.check_prompts(prompts)
        if not isinstance(prompts, MixedPrompts):
            prompts = MixedPrompts.of(prompts, self.input_spec.mask_size)
        inputs = dict(zip(FEATURES, feature_tensors(features), strict=False))
        inputs |= dict(zip(DECODER_INPUTS, prompt_tensors(prompts), strict=True))
        (logits,) = _run(self._decoder, inputs)
        return logits


def _open(path: Path, threads: int, providers: Sequence[str]) -> Any:
    import onnxruntime

    if not path.is_file():
        raise ExportError(f"{path} does not exist: give a folder that `syncsam export` wrote")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # its own exceptions have no common class but this one
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ExportError(f"ONNX Runtime can't open {path}: {reason}") from error


def _input_spec(session: Any, path: Path) -> InputSpec:
    kept: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    if missing := [key for key in INPUT_KEYS if key not in kept]:
        raise ExportError(
            f"{path} does not say its {', '.join(missing)}: it was not written by `syncsam export`"
        )
    takes = {key: json.loads(kept[key]) for key in INPUT_KEYS}
    return InputSpec(**{**takes, "prompts": frozenset(takes["prompts"])})


def _run(session: Any, tensors: Mapping[str, Tensor]) -> list[Tensor]:
    # A graph may do without an input, such as the sizes of images that fill their squares.
    taken = {entry.name for entry in session.get_inputs()}
    arrays = {
        name: np.ascontiguousarray(tensor.detach().cpu().numpy())
        for name, tensor in tensors.items()
        if name in taken
    }
    return [torch.from_numpy(array) for array in session.run(None, arrays)]
