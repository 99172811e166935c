"""What a model's answer becomes in the next round: a dense prompt, and a mask to look at."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from syncsam_lightning.models.promptable import Feedback

__all__ = ["Feedback", "dense_prompt", "predicted_masks"]


def dense_prompt(logits: Tensor, feedback: Feedback) -> Tensor:
    """Return an answer as the mask prompt of the next round.

    Args:
        logits: ``(N, S/4, S/4)`` float of any precision.
        feedback: the rule.

    Returns:
        ``(N, S/4, S/4)`` float32, outside the autograd graph.
    """
    answer = logits.detach().float()
    return answer.sigmoid() if feedback == "sigmoid" else answer


def predicted_masks(logits: Tensor, side: int) -> Tensor:
    """Return the masks that a user sees: logits above 0 after bilinear upsampling.

    Args:
        logits: ``(N, s, s)`` float of any precision.
        side: S, side of the model's square.

    Returns:
        ``(N, S, S)`` bool.
    """
    full = F.interpolate(
        logits[:, None].float(), (side, side), mode="bilinear", align_corners=False
    )
    return full[:, 0] > 0
