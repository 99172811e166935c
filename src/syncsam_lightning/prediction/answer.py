"""What a predictor answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from syncsam_lightning.geometry import ResizePlan

_OFFSET = 1.0  # of the two thresholds that SAM compares


@dataclass(frozen=True)
class Prediction:
    """The masks of N objects on one image.

    Unpacks like the answer of SAM's predictor: ``masks, scores, low_res_logits = prediction``.

    Args:
        masks: ``(N, H, W)`` bool, at the original size.
        scores: ``(N,)`` float32 in [0, 1], how much a mask depends on its threshold: the IoU of
            logits above 1 and above -1 (SAM's stability score). Neither a probability nor an
            estimate of the DSC. 0 where nothing is above -1.
        low_res_logits: ``(N, S/4, S/4)`` float32; given back as ``mask``, they are corrected.
        plan: how the image lies in the model's square.
    """

    masks: np.ndarray
    scores: np.ndarray
    low_res_logits: np.ndarray
    plan: ResizePlan = field(repr=False)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.masks, self.scores, self.low_res_logits))

    def __len__(self) -> int:
        return len(self.masks)

    def logits(self) -> np.ndarray:
        """Return ``(N, H, W)`` float32 logits at the original size; positive is foreground."""
        logits: np.ndarray = self.plan.logits_to_original(
            torch.from_numpy(self.low_res_logits)
        ).numpy()
        return logits


@torch.inference_mode()
def prediction_of(low_res_logits: Tensor, plan: ResizePlan) -> Prediction:
    """Bring a model's answer to the original size, see :meth:`ResizePlan.parts`.

    Args:
        low_res_logits: ``(N, S/4, S/4)`` on any device.
        plan: how the image lies in the model's square.
    """
    low_res_logits = low_res_logits.float()
    count = len(low_res_logits)
    masks = np.empty((count, plan.height, plan.width), bool)
    scores = np.empty(count, np.float32)
    for part in plan.parts(count):
        logits = plan.logits_to_original(low_res_logits[part])
        masks[part] = (logits > 0).cpu().numpy()
        scores[part] = _stability(logits).cpu().numpy()
    return Prediction(masks, scores, low_res_logits.cpu().numpy(), plan)


def _stability(logits: Tensor) -> Tensor:
    """Return ``(N,)`` float32, SAM's stability score of ``(N, H, W)`` logits; N is not 0."""
    # Not SAM's own function: it counts a row of pixels in 16 bits, too few for a whole slide.
    inner, outer = (
        torch.stack([(one > limit).count_nonzero() for one in logits])
        for limit in (_OFFSET, -_OFFSET)
    )
    return (inner / outer).nan_to_num(0.0)  # 0 / 0 where nothing is above either
