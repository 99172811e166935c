"""IMIS-Net's mask decoder: SAM's, with semantic tokens beside the mask tokens."""

from __future__ import annotations

import torch
from segment_anything.modeling.mask_decoder import MLP
from torch import Tensor, nn

from syncsam_lightning.models.baselines.sam_decoder import BatchedMaskDecoder

_HIDDEN_DIM = 256
_TEXT_DIM = 512  # width of CLIP's text embeddings, with which a mask's class is compared


class IMISMaskDecoder(BatchedMaskDecoder):
    """SAM's decoder with four semantic tokens; parameter names are those of the official file.

    Text is not supported. ``text_output``, which adds a mask for a text, and
    ``semantic_prediction_head``, which names the class of a mask by comparison with texts, are
    there for loading only.

    Args:
        embed_dim: C, width of the image embedding and of the tokens; a multiple of 16.
    """

    idle_parts = (
        *BatchedMaskDecoder.only_for_unambiguous,
        "semantic_prediction_head",
        "text_output",
    )
    """Submodules on which no answer depends: IMIS-Net takes every prompt for an ambiguous one."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__(embed_dim)
        self.semantic_tokens = nn.Embedding(self.num_mask_tokens, embed_dim)
        self.text_output = nn.Linear(embed_dim, embed_dim // 8)
        self.semantic_prediction_head = MLP(embed_dim, _HIDDEN_DIM, _TEXT_DIM, 3)

    def _learned_tokens(self) -> Tensor:
        # They have no output of their own here, but the mask tokens attend to them.
        return torch.cat([super()._learned_tokens(), self.semantic_tokens.weight])
