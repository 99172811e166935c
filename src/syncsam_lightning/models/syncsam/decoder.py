"""The multi-scale dual-branch decoder, and SAM's own decoder as its ablation.

Shapes: N objects on B images, T prompt tokens, grid h = S/16, masks at S/4.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from segment_anything.modeling.mask_decoder import MLP
from segment_anything.modeling.mask_decoder import MaskDecoder as SAMMaskDecoder
from torch import Tensor, nn

from syncsam_lightning.models.promptable import ImageFeatures
from syncsam_lightning.models.sharing import of_each_object
from syncsam_lightning.models.syncsam.architecture import EMBED_DIM, MASK_DIM
from syncsam_lightning.models.syncsam.norm import LayerNorm2d
from syncsam_lightning.models.syncsam.transformer import KernelTwoWayTransformer


class MaskDecoder(nn.Module, ABC):
    """What both decoders share: SAM's two-way transformer and output upscaling.

    Attributes:
        sam_parts: names of the submodules that come from SAM; ``frozen=("decoder",)`` freezes them.
        unused_parts: names of submodules that are kept for loading only and never computed.
    """

    sam_parts: ClassVar[tuple[str, ...]] = ("transformer", "output_upscaling")
    unused_parts: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        sam = SAMMaskDecoder(transformer_dim=EMBED_DIM, transformer=KernelTwoWayTransformer())
        self.transformer = sam.transformer
        self.output_upscaling = sam.output_upscaling
        self.output_upscaling[1] = LayerNorm2d(EMBED_DIM // 4)
        self._add_tokens(sam)
        # Not the whole decoder: embeddings and linear layers have no such format.
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.to(memory_format=torch.channels_last)

    @abstractmethod
    def _add_tokens(self, sam: SAMMaskDecoder) -> None:
        """Add the parts that differ, taking from a freshly built SAM decoder what it needs."""

    @abstractmethod
    def _output_tokens(self) -> tuple[Tensor, int]:
        """Return the learned tokens ``(K, 256)`` and which of them stands for the mask."""

    @abstractmethod
    def _mask_weights(self, token: Tensor) -> Tensor:
        """Turn the mask token after the transformer, ``(N, 256)``, into weights ``(N, 32)``."""

    def _weighted_sum(self, weights: Tensor, upscaled: Tensor) -> Tensor:
        """Sum the channels of the mask features.

        Args:
            weights: ``(N, 32)``.
            upscaled: ``(N, 32, S/4, S/4)``, from which the mask features are computed.

        Returns:
            ``(N, S/4, S/4)``.
        """
        return _sum_of_channels(weights, upscaled)

    def forward(
        self,
        features: ImageFeatures,
        image_index: Tensor,
        sparse: Tensor,
        dense: Tensor,
        positions: Tensor,
    ) -> Tensor:
        """Predict one mask per object.

        Args:
            features: of B images.
            image_index: ``(N,)`` int64, in [0, B).
            sparse: ``(N, T, 256)`` prompt tokens.
            dense: ``(N, 256, h, h)`` embedding of previous masks.
            positions: ``(1, 256, h, h)`` position of each cell; the same for all objects, hence
                never repeated.

        Returns:
            ``(N, S/4, S/4)`` logits.
        """
        learned, mask_token = self._output_tokens()
        tokens = torch.cat([learned.expand(sparse.shape[0], -1, -1), sparse], dim=1)
        source = of_each_object(features.embedding, image_index) + dense
        tokens, cells = self.transformer(source, positions, tokens)
        weights = self._mask_weights(tokens[:, mask_token])
        upscaled = self.output_upscaling(cells.transpose(1, 2).unflatten(2, source.shape[-2:]))
        logits = self._weighted_sum(weights, upscaled)
        if features.multi_scale is not None:
            logits = logits + _sum_of_channels(
                weights, of_each_object(features.multi_scale, image_index)
            )
        return logits


class MedTokenDecoder(MaskDecoder):
    """One trained Med-Output token beside the prompt tokens; no IoU head, no other mask tokens."""

    def _add_tokens(self, sam: SAMMaskDecoder) -> None:
        self.med_token = nn.Embedding(1, EMBED_DIM)
        self.med_mlp = MLP(EMBED_DIM, EMBED_DIM, MASK_DIM, 3)
        self.mask_features = nn.Sequential(
            nn.Conv2d(MASK_DIM, 2 * MASK_DIM, 3, padding=1),
            LayerNorm2d(2 * MASK_DIM),
            nn.GELU(),
            nn.Conv2d(2 * MASK_DIM, MASK_DIM, 3, padding=1),
        )

    def _output_tokens(self) -> tuple[Tensor, int]:
        return self.med_token.weight, 0

    def _mask_weights(self, token: Tensor) -> Tensor:
        return cast(Tensor, self.med_mlp(token))

    def _weighted_sum(self, weights: Tensor, upscaled: Tensor) -> Tensor:
        # A sum of the channels that a convolution gives is a convolution with the sum of its
        # kernels. That one has a single channel: for 32 of them, a 32nd of the work and memory.
        last = cast(nn.Conv2d, self.mask_features[-1])
        for layer in self.mask_features[:-1]:
            upscaled = layer(upscaled)
        kernels = torch.einsum("no,oikl->nikl", weights, last.weight)
        bias = weights @ cast(Tensor, last.bias).to(weights.dtype)
        return _convolve_each(upscaled, kernels) + bias[:, None, None]


class SAMTokenDecoder(MaskDecoder):
    """SAM's own tokens; its mask token 0, the one for a single mask, gives the mask.

    The IoU head and the networks of the three ambiguity masks are kept, so that a SAM checkpoint
    loads whole, but are not computed.
    """

    sam_parts: ClassVar[tuple[str, ...]] = (
        *MaskDecoder.sam_parts,
        "iou_token",
        "mask_tokens",
        "output_hypernetworks_mlps",
        "iou_prediction_head",
    )
    unused_parts: ClassVar[tuple[str, ...]] = (
        "iou_prediction_head",
        *(f"output_hypernetworks_mlps.{i}" for i in (1, 2, 3)),
    )

    def _add_tokens(self, sam: SAMMaskDecoder) -> None:
        self.iou_token = sam.iou_token
        self.mask_tokens = sam.mask_tokens
        self.output_hypernetworks_mlps = sam.output_hypernetworks_mlps
        self.iou_prediction_head = sam.iou_prediction_head

    def _output_tokens(self) -> tuple[Tensor, int]:
        return torch.cat([self.iou_token.weight, self.mask_tokens.weight]), 1

    def _mask_weights(self, token: Tensor) -> Tensor:
        return cast(Tensor, self.output_hypernetworks_mlps[0](token))


def _sum_of_channels(weights: Tensor, maps: Tensor) -> Tensor:
    """Return ``(N, H, W)`` from weights ``(N, C)`` and maps ``(N, C, H, W)``."""
    return torch.einsum("nc,nchw->nhw", weights, maps)


def _convolve_each(maps: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each map with a kernel of its own, keeping its size.

    Grouped convolution would do it, many times slower: here one batched product gives what every
    pixel adds to its neighbours, and ``fold`` adds that up.

    Args:
        maps: ``(N, C, H, W)``.
        kernels: ``(N, C, k, k)``, k odd.

    Returns:
        ``(N, H, W)``.
    """
    side = kernels.shape[-1]
    # Channels last, as the maps lie in memory: their gradient then lies so too.
    pixels = maps.permute(0, 2, 3, 1).flatten(1, 2)
    # Flipped: a kernel tells what a pixel receives, and here pixels give.
    taps = pixels @ kernels.flip(2, 3).flatten(2)
    return F.fold(taps.transpose(1, 2), maps.shape[-2:], side, padding=side // 2)[:, 0]
