"""SAM's mask decoder for N objects on B images in one batch.

Shapes: K mask tokens (4), T prompt tokens, grid h = S/16, masks at S/4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from segment_anything.modeling import MaskDecoder, TwoWayTransformer
from torch import Tensor

from syncsam_lightning.models.promptable import ScoredMasks
from syncsam_lightning.models.sharing import of_each_object
from syncsam_lightning.prompts import Prompts

_SINGLE = 0  # the token of the mask that is meant for unambiguous prompts; the rest are for others


@dataclass(frozen=True, slots=True)
class MaskCandidates:
    """What SAM proposes for N objects.

    Args:
        logits: ``(N, K, S/4, S/4)``; the first is SAM's answer to unambiguous prompts, the others
            are its three answers to ambiguous ones.
        predicted_iou: ``(N, K)``, what SAM expects each to score.
    """

    logits: Tensor
    predicted_iou: Tensor

    def best(self, ambiguous: Tensor) -> ScoredMasks:
        """Choose the mask of the highest predicted IoU among those meant for each prompt.

        Args:
            ambiguous: ``(N,)`` bool, see :func:`is_ambiguous`.
        """
        meant_for_ambiguous = torch.arange(self.logits.shape[1], device=ambiguous.device) != _SINGLE
        out_of_question = meant_for_ambiguous != ambiguous[:, None]
        scores = self.predicted_iou.detach().masked_fill(out_of_question, -torch.inf)
        chosen = scores.argmax(1)
        objects = torch.arange(chosen.shape[0], device=chosen.device)
        # Taken out of all masks, so that every token has a gradient, if only of zero, whatever was
        # chosen; DistributedDataParallel waits for it.
        return ScoredMasks(self.logits[objects, chosen], self.predicted_iou[objects, chosen])


def is_ambiguous(prompts: Prompts) -> Tensor:
    """Tell which objects are prompted by one click or one box, and nothing else.

    These are the prompts for which SAM was trained to give several masks (Kirillov et al., "Segment
    anything", appendix A); its ONNX export decides by the same count. Padding does not count.

    Returns:
        ``(N,)`` bool.
    """
    return prompts.count_given <= 1


class BatchedMaskDecoder(MaskDecoder):  # type: ignore[misc]
    """SAM's mask decoder; parameter names and numbers are SAM's.

    SAM's own takes one image per call and repeats its embedding for each prompt; here each object
    says which image it lies on.

    Args:
        embed_dim: width of the image embedding.
    """

    only_for_ambiguous = (
        "iou_prediction_head",
        *(f"output_hypernetworks_mlps.{i}" for i in (1, 2, 3)),
    )
    """Submodules on which nothing depends but the answers to ambiguous prompts."""
    only_for_unambiguous = (f"output_hypernetworks_mlps.{_SINGLE}",)
    """Submodules on which nothing depends but the answers to unambiguous ones."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__(
            transformer_dim=embed_dim,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=embed_dim, mlp_dim=2048, num_heads=8
            ),
        )

    def forward(
        self,
        embedding: Tensor,
        image_index: Tensor,
        sparse: Tensor,
        dense: Tensor,
        positions: Tensor,
    ) -> MaskCandidates:
        """Predict all masks of every object.

        Args:
            embedding: ``(B, C, h, h)`` of B images.
            image_index: ``(N,)`` int64, in [0, B).
            sparse: ``(N, T, C)`` prompt tokens.
            dense: ``(N, C, h, h)`` embedding of previous masks.
            positions: ``(1, C, h, h)`` position of each cell.
        """
        tokens, upscaled = self._decode(embedding, image_index, sparse, dense, positions)
        weights = torch.stack(
            [mlp(tokens[:, 1 + k]) for k, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1
        )
        return MaskCandidates(
            torch.einsum("nkc,nchw->nkhw", weights, upscaled),
            self.iou_prediction_head(tokens[:, 0]),
        )

    def single(
        self,
        embedding: Tensor,
        image_index: Tensor,
        sparse: Tensor,
        dense: Tensor,
        positions: Tensor,
    ) -> Tensor:
        """Predict the mask for unambiguous prompts alone, ``(N, S/4, S/4)``."""
        tokens, upscaled = self._decode(embedding, image_index, sparse, dense, positions)
        weights = self.output_hypernetworks_mlps[_SINGLE](tokens[:, 1 + _SINGLE])
        return torch.einsum("nc,nchw->nhw", weights, upscaled)

    def _decode(
        self,
        embedding: Tensor,
        image_index: Tensor,
        sparse: Tensor,
        dense: Tensor,
        positions: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the tokens, learned ones first, and the cells ``(N, C/8, S/4, S/4)``."""
        learned = self._learned_tokens().expand(sparse.shape[0], -1, -1)
        tokens = torch.cat([learned, sparse], dim=1)
        source = of_each_object(embedding, image_index) + dense
        tokens, cells = self.transformer(source, positions, tokens)
        upscaled = self.output_upscaling(cells.transpose(1, 2).unflatten(2, source.shape[-2:]))
        return tokens, upscaled

    def _learned_tokens(self) -> Tensor:
        """Return the learned tokens ``(1 + K or more, C)``: the IoU's, then the K masks'."""
        return torch.cat([self.iou_token.weight, self.mask_tokens.weight])
