"""Programs of ``torch.export``: graphs that torch runs without the model's code."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from syncsam_lightning.errors import ExportError
from syncsam_lightning.exporting.graphs import (
    Graph,
    decoder_graph,
    encoder_graph,
    feature_tensors,
    prompt_tensors,
)
from syncsam_lightning.models import ImageFeatures, InputSpec, PromptableModel
from syncsam_lightning.prompts import MixedPrompts, Prompts


@dataclass(frozen=True, slots=True)
class TorchFiles:
    """Where a model's programs are.

    Args:
        encoder: path of the encoder.
        decoder: path of the decoder.
    """

    encoder: Path
    decoder: Path

    @classmethod
    def inside(cls, folder: Path) -> TorchFiles:
        """Return the files that an export leaves in a folder."""
        return cls(folder / "encoder.pt2", folder / "decoder.pt2")


def export_programs(model: PromptableModel, folder: Path) -> TorchFiles:
    """Write a model's encoder and decoder as ``.pt2``; nothing is checked yet.

    ``torch.export.load(path).module()`` runs them. Numbers of images, objects and points stay open.

    Args:
        model: on the CPU; put in eval mode.
        folder: for ``encoder.pt2`` and ``decoder.pt2``; it is there already.

    Raises:
        ExportError: the model's code can't be turned into a graph.
    """
    model.eval()
    files = TorchFiles.inside(folder)
    for graph, path in (
        (encoder_graph(model), files.encoder),
        (decoder_graph(model), files.decoder),
    ):
        _write(graph, path, model)
    return files


def _write(graph: Graph, path: Path, model: PromptableModel) -> None:
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                graph.module, graph.inputs, dynamic_shapes=graph.sizes, strict=False
            )
            torch.export.save(program, path)
    except (RuntimeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ExportError(
            f"{type(model).__name__} can't be turned into the program {path.name}: {reason} "
            "(--debug shows where)"
        ) from error


class ProgramModel(PromptableModel):
    """A :class:`PromptableModel` of two programs.

    Args:
        files: the programs.
        input_spec: of the model that they were made of.
    """

    def __init__(self, files: TorchFiles, input_spec: InputSpec) -> None:
        super().__init__()
        self.input_spec = input_spec
        self.encoder = torch.export.load(files.encoder).module()
        self.decoder = torch.export.load(files.decoder).module()

    def encode(self, images: Tensor, sizes: Tensor | None = None) -> ImageFeatures:
        """See :meth:`PromptableModel.encode`."""
        self.check_images(images, sizes)
        if sizes is None:
            sizes = torch.full((len(images), 2), self.input_spec.size)
        return ImageFeatures(*self.encoder(images.float(), sizes))

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        """See :meth:`PromptableModel.decode`."""
        self.check_prompts(prompts)
        if not isinstance(prompts, MixedPrompts):
            prompts = MixedPrompts.of(prompts, self.input_spec.mask_size)
        logits: Tensor = self.decoder(feature_tensors(features), prompt_tensors(prompts))
        return logits
