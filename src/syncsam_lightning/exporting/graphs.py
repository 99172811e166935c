"""A model as two functions of plain tensors: what is exported.

Names of the decoder's inputs and the numbers of its labels are those of SAM's own ONNX export
(Meta's ``SamOnnxModel``); unlike there, a batch may hold any number of images and objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from syncsam_lightning.errors import ExportError
from syncsam_lightning.models import ImageFeatures, PromptableModel, ScribblePromptUNet
from syncsam_lightning.models.syncsam.prompt_encoder import BatchedPromptEncoder
from syncsam_lightning.prompts import MixedPrompts

ENCODER_INPUTS = ("images", "sizes")
DECODER_INPUTS = ("image_index", "point_coords", "point_labels", "mask_input", "has_mask_input")
"""Inputs of a decoder after the features."""
FEATURES = ("image_embeddings", "multi_scale")
"""Outputs of an encoder, inputs of a decoder; models without a multi-scale branch lack the last."""
MASKS = "low_res_masks"
"""Output of a decoder."""

# At least 2 of everything: torch.export takes a size of 1 for one that never changes.
_IMAGES, _OBJECTS, _POINTS = 2, 3, 4


class EncoderGraph(nn.Module):
    """``(images, sizes) → features``; see :meth:`PromptableModel.encode`."""

    def __init__(self, model: PromptableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, ...]:
        """Encode ``(B, 3, S, S)`` float32 in 0..255 with sizes ``(B, 2)`` int64."""
        return feature_tensors(self.model.encode(images, sizes))


class DecoderGraph(nn.Module):
    """``(features, mixed prompts) → logits``; see :meth:`PromptableModel.decode`."""

    def __init__(self, model: PromptableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: tuple[Tensor, ...], prompts: tuple[Tensor, ...]) -> Tensor:
        """Decode.

        Args:
            features: of B images, as the encoder gives them.
            prompts: of N objects, in the order of :data:`DECODER_INPUTS`.
        """
        image_index, points, labels, masks, has_mask = prompts
        return self.model.decode(
            ImageFeatures(*features),
            MixedPrompts(
                image_index=image_index,
                points=points,
                point_labels=labels,
                mask_logits=masks,
                has_mask=has_mask,
            ),
        )


def feature_tensors(features: ImageFeatures) -> tuple[Tensor, ...]:
    """Return the tensors that there are, in the order of :data:`FEATURES`."""
    tensors = (features.embedding, features.multi_scale)
    return tuple(tensor for tensor in tensors if tensor is not None)


def prompt_tensors(prompts: MixedPrompts) -> tuple[Tensor, ...]:
    """Return what a decoder takes, in the order of :data:`DECODER_INPUTS`."""
    assert prompts.points is not None
    assert prompts.point_labels is not None
    assert prompts.mask_logits is not None
    return (
        prompts.image_index,
        prompts.points,
        prompts.point_labels,
        prompts.mask_logits,
        prompts.has_mask,
    )


@dataclass(frozen=True, slots=True)
class Graph:
    """A function to export, with example inputs.

    Args:
        module: the function.
        inputs: example arguments.
        sizes: which dimensions of them may vary.
        input_names: of all tensors among the arguments, in order.
        output_names: of all tensors that it returns.
    """

    module: nn.Module
    inputs: tuple[Any, ...]
    sizes: tuple[Any, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]


def encoder_graph(model: PromptableModel) -> Graph:
    """Return the encoder, for any number of images."""
    check_exportable(model)
    spec = model.input_spec
    side = spec.size
    images = torch.linspace(0, 255, _IMAGES * 3 * side * side).reshape(_IMAGES, 3, side, side)
    shapes = ((side, side), (side // 2, side))
    resized = [spec.plan(height, width).resized for height, width in shapes]
    batch = Dim("images")
    return Graph(
        EncoderGraph(model).eval(),
        (images, torch.tensor(resized)),
        ({0: batch}, {0: batch}),
        ENCODER_INPUTS,
        FEATURES[: _number_of_features(model)],
    )


def decoder_graph(model: PromptableModel) -> Graph:
    """Return the decoder, for any number of images, objects and points."""
    check_exportable(model)
    side, mask_side = model.input_spec.size, model.input_spec.mask_size
    with torch.no_grad():
        features = feature_tensors(model.encode(torch.zeros(_IMAGES, 3, side, side)))
    prompts = (
        torch.arange(_OBJECTS) % _IMAGES,
        torch.linspace(0, side - 1, _OBJECTS * _POINTS * 2).reshape(_OBJECTS, _POINTS, 2),
        (torch.arange(_OBJECTS * _POINTS) % 5 - 1).reshape(_OBJECTS, _POINTS),
        torch.zeros(_OBJECTS, mask_side, mask_side),
        torch.arange(_OBJECTS) % 2 == 0,
    )
    images, objects, points = Dim("images"), Dim("objects"), Dim("points")
    by_object = {0: objects}
    by_point = {0: objects, 1: points}
    return Graph(
        DecoderGraph(model).eval(),
        (features, prompts),
        (
            tuple({0: images} for _ in features),
            (by_object, by_point, by_point, by_object, by_object),
        ),
        (*FEATURES[: len(features)], *DECODER_INPUTS),
        (MASKS,),
    )


def _number_of_features(model: PromptableModel) -> int:
    side = model.input_spec.size
    with torch.no_grad():
        return len(feature_tensors(model.encode(torch.zeros(1, 3, side, side))))


def check_exportable(model: PromptableModel) -> None:
    """Raise :class:`ExportError` unless a graph without branches can hold the model's decoder."""
    encoder = getattr(model, "prompt_encoder", None)
    if not isinstance(encoder, BatchedPromptEncoder) and not isinstance(model, ScribblePromptUNet):
        raise ExportError(
            f"{type(model).__name__} can't be exported as a graph: its decode must take "
            "MixedPrompts, as models with SAM's prompt encoder do; safetensors and the official "
            "layout don't need that"
        )
