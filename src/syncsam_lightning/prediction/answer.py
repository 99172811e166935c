"""What a predictor answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from segment_anything.utils.amg import calculate_stability_score
from torch import Tensor

from syncsam_lightning.geometry import ResizePlan

_CHUNK = 16  # objects brought to the original size at a time: float logits of a slide are large
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
    """Bring a model's answer to the original size.

    Args:
        low_res_logits: ``(N, S/4, S/4)`` on any device.
        plan: how the image lies in the model's square.
    """
    masks, scores = [], []
    for chunk in torch.split(low_res_logits.float(), _CHUNK):
        logits = plan.logits_to_original(chunk)
        masks.append((logits > 0).cpu())
        # Where nothing is above either threshold it is 0 / 0.
        scores.append(calculate_stability_score(logits, 0.0, _OFFSET).nan_to_num(0.0).cpu())
    return Prediction(
        torch.cat(masks).numpy(),
        torch.cat(scores).float().numpy(),
        low_res_logits.float().cpu().numpy(),
        plan,
    )
