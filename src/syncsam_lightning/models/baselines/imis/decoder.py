"""IMIS-Net's mask decoder: SAM's, with semantic tokens beside the mask tokens.

Shapes: N objects on B images, T prompt tokens, C channels, grid h = S/16, K = 3 masks at S/4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from segment_anything.modeling.mask_decoder import MLP
from segment_anything.modeling.mask_decoder import MaskDecoder as SAMMaskDecoder
from segment_anything.modeling.transformer import TwoWayTransformer
from torch import Tensor, nn

SEMANTIC_DIM = 512  # width of CLIP's text embedding, which the semantic head is compared with


@dataclass(frozen=True, slots=True)
class MaskCandidates:
    """Several masks per object, factored: a mask is the product of its weights and the pixels.

    Args:
        weights: ``(N, K, C/8)``.
        pixels: ``(N, C/8, S/4, S/4)``.
        predicted_iou: ``(N, K)``, how good the model thinks each mask is.
    """

    weights: Tensor
    pixels: Tensor
    predicted_iou: Tensor

    def all(self) -> Tensor:
        """Return the logits of all masks, ``(N, K, S/4, S/4)``."""
        return torch.einsum("nkc,nchw->nkhw", self.weights, self.pixels)

    def best(self) -> Tensor:
        """Return the logits of the mask of the highest predicted IoU, ``(N, S/4, S/4)``.

        The other masks are not computed.
        """
        choice = self.predicted_iou.argmax(dim=1)
        chosen = self.weights[torch.arange(len(choice), device=choice.device), choice]
        return torch.einsum("nc,nchw->nhw", chosen, self.pixels)


class IMISMaskDecoder(SAMMaskDecoder):  # type: ignore[misc]
    """SAM's decoder with four semantic tokens; parameter names are those of the official file.

    Text is not supported, so ``text_output`` and ``semantic_prediction_head`` (which names the
    class of a mask by comparison with texts) are kept for loading only, and so is the network of
    SAM's mask 0, the one for a single mask: IMIS-Net always chooses among the other three.

    Args:
        embed_dim: C, a multiple of 16.

    Attributes:
        unused_parts: names of submodules that are never computed.
    """

    unused_parts: ClassVar[tuple[str, ...]] = (
        "output_hypernetworks_mlps.0",
        "semantic_prediction_head",
        "text_output",
    )

    def __init__(self, embed_dim: int) -> None:
        super().__init__(
            transformer_dim=embed_dim,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=embed_dim, mlp_dim=2048, num_heads=8
            ),
        )
        self.semantic_tokens = nn.Embedding(self.num_mask_tokens, embed_dim)
        self.text_output = nn.Linear(embed_dim, embed_dim // 8)
        self.semantic_prediction_head = MLP(embed_dim, 256, SEMANTIC_DIM, 3)

    def forward(
        self,
        embedding: Tensor,
        image_index: Tensor,
        sparse: Tensor,
        dense: Tensor,
        positions: Tensor,
    ) -> MaskCandidates:
        """Predict three masks per object.

        Args:
            embedding: ``(B, C, h, h)``.
            image_index: ``(N,)`` int64, in [0, B).
            sparse: ``(N, T, C)`` prompt tokens.
            dense: ``(N, C, h, h)`` embedding of previous masks.
            positions: ``(1, C, h, h)`` position of each cell, the same for all objects.
        """
        learned = torch.cat(
            [self.iou_token.weight, self.mask_tokens.weight, self.semantic_tokens.weight]
        )
        tokens = torch.cat([learned.expand(sparse.shape[0], -1, -1), sparse], dim=1)
        # Advanced indexing, since its backward is deterministic on a GPU; index_select's is not.
        source = embedding[image_index] + dense
        tokens, cells = self.transformer(source, positions, tokens)
        weights = [
            self.output_hypernetworks_mlps[k](tokens[:, 1 + k])
            for k in range(1, self.num_mask_tokens)
        ]
        return MaskCandidates(
            weights=torch.stack(weights, dim=1),
            pixels=self.output_upscaling(cells.transpose(1, 2).unflatten(2, source.shape[-2:])),
            predicted_iou=self.iou_prediction_head(tokens[:, 0])[:, 1:],
        )
