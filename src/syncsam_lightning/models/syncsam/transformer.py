"""SAM's two-way transformer with torch's attention kernels."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from segment_anything.modeling.transformer import Attention, TwoWayTransformer
from torch import Tensor

from syncsam_lightning.models.syncsam.architecture import EMBED_DIM

_DEPTH, _HEADS, _MLP_WIDTH, _DOWNSAMPLE_RATE = 2, 8, 2048, 2


class KernelAttention(Attention):  # type: ignore[misc]
    """SAM's attention between tokens, computed by ``scaled_dot_product_attention``."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend from ``(N, Q, C)`` to ``(N, K, C)``; return ``(N, Q, C)``."""
        projected = (self.q_proj(q), self.k_proj(k), self.v_proj(v))
        heads = (self._separate_heads(part, self.num_heads) for part in projected)
        attended = F.scaled_dot_product_attention(*heads)
        return cast(Tensor, self.out_proj(self._recombine_heads(attended)))


class KernelTwoWayTransformer(TwoWayTransformer):  # type: ignore[misc]
    """The transformer of SAM's mask decoder; parameter names and numbers are SAM's."""

    def __init__(self) -> None:
        super().__init__(
            depth=_DEPTH, embedding_dim=EMBED_DIM, mlp_dim=_MLP_WIDTH, num_heads=_HEADS
        )
        for layer in self.layers:
            layer.self_attn = KernelAttention(EMBED_DIM, _HEADS)
            layer.cross_attn_token_to_image = _cross_attention()
            layer.cross_attn_image_to_token = _cross_attention()
        self.final_attn_token_to_image = _cross_attention()


def _cross_attention() -> KernelAttention:
    return KernelAttention(EMBED_DIM, _HEADS, _DOWNSAMPLE_RATE)
