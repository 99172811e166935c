"""The loss of a round: λ · Dice + Focal, and that of predicted scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class LossTerms:
    """The parts of the loss of a batch; scalars, float32, inside the autograd graph.

    Args:
        dice: soft Dice loss, mean over the masks, unweighted.
        focal: focal loss, mean over the pixels of each mask and then over the masks, unweighted.
        total: the weighted sum that is minimised; with the error of the predicted IoU, if any.
    """

    dice: Tensor
    focal: Tensor
    total: Tensor


class PromptLoss(nn.Module):
    """λ · Dice + Focal, λ = 20, at the resolution of the truth.

    Every mask counts the same, however large: Dice is computed per mask and then averaged, not over
    the pooled batch as in SAM-Med2D. Computed in float32 even under autocast.

    A model that predicts the IoU of its answers may be trained to do so, by the squared error
    against the IoU that they have (Kirillov et al., "Segment anything", appendix A; SAM-Med2D).

    Args:
        dice_weight: λ, weight of the Dice term.
        focal_weight: weight of the focal term.
        gamma: focusing exponent of the focal loss (Lin et al., "Focal loss for dense object
            detection", ICCV 2017, equation 5).
        alpha: weight of foreground pixels in it; background pixels weigh ``1 - alpha``.
        smooth: added to numerator and denominator of Dice, in pixels, so that an empty mask has a
            gradient too.
        iou_weight: weight of the squared error of the predicted IoU.

    Raises:
        ValueError: a weight or ``gamma`` is negative, those of Dice and focal loss are both 0,
            ``alpha`` is outside [0, 1], or ``smooth`` is not positive.
    """

    def __init__(
        self,
        dice_weight: float = 20.0,
        focal_weight: float = 1.0,
        gamma: float = 2.0,
        alpha: float = 0.25,
        smooth: float = 1.0,
        iou_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if min(dice_weight, focal_weight) < 0 or dice_weight == focal_weight == 0:
            raise ValueError(
                "dice_weight and focal_weight must be 0 or more and not both 0, got "
                f"dice_weight={dice_weight}, focal_weight={focal_weight}"
            )
        if iou_weight < 0:
            raise ValueError(f"iou_weight must be 0 or more, got {iou_weight}")
        if gamma < 0:
            raise ValueError(f"gamma must be 0 or more, got {gamma}")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be within [0, 1], got {alpha}")
        if smooth <= 0:
            raise ValueError(f"smooth must be positive, got {smooth}")
        self.dice_weight = dice_weight
        self.focal_weight = focal_weight
        self.gamma = gamma
        self.alpha = alpha
        self.smooth = smooth
        self.iou_weight = iou_weight

    def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return the total loss of a batch; see :meth:`terms`."""
        return self.terms(logits, truth).total

    def terms(
        self, logits: Tensor, truth: Tensor, predicted_iou: Tensor | None = None
    ) -> LossTerms:
        """Compute the loss of a batch, part by part.

        Args:
            logits: ``(N, s, s)`` float mask logits, brought to the truth's resolution bilinearly.
            truth: ``(N, S, S)`` bool masks.
            predicted_iou: ``(N,)``, what the model expects of its answers; None: nothing.

        Returns:
            The terms, each a scalar.

        Raises:
            ValueError: there is no mask, or the numbers of masks differ.
        """
        if logits.ndim != 3 or truth.ndim != 3 or logits.shape[0] != truth.shape[0]:
            raise ValueError(
                "logits must be (N, s, s) and truth (N, S, S), got "
                f"{tuple(logits.shape)} and {tuple(truth.shape)}"
            )
        if truth.shape[0] == 0:
            raise ValueError("a loss needs at least one mask, got none")
        with torch.autocast(logits.device.type, enabled=False):
            full = F.interpolate(
                logits[:, None].float(), truth.shape[1:], mode="bilinear", align_corners=False
            )[:, 0].flatten(1)
            flat_truth = truth.flatten(1).float()
            dice = self._dice(full, flat_truth).mean()
            focal = self._focal(full, flat_truth).mean()
            total = self.dice_weight * dice + self.focal_weight * focal
            if predicted_iou is not None:
                error = F.mse_loss(predicted_iou.float(), _iou(full > 0, truth.flatten(1)))
                total = total + self.iou_weight * error
        return LossTerms(dice, focal, total)

    def _dice(self, logits: Tensor, truth: Tensor) -> Tensor:
        probability = logits.sigmoid()
        overlap = (probability * truth).sum(1)
        areas = probability.sum(1) + truth.sum(1)
        return 1 - (2 * overlap + self.smooth) / (areas + self.smooth)

    def _focal(self, logits: Tensor, truth: Tensor) -> Tensor:
        # z > 0 where the prediction is right. -log p_t = softplus(-z) and 1 - p_t = sigmoid(-z);
        # its power is taken in the log domain, where no logit and no gamma gives an infinite
        # gradient: -log(1 - p_t) = softplus(z) = z + softplus(-z).
        z = logits * (2 * truth - 1)
        cross_entropy = F.softplus(-z)
        focus = torch.exp(-self.gamma * (z + cross_entropy))
        weight = (1 - self.alpha) + (2 * self.alpha - 1) * truth
        return (weight * focus * cross_entropy).mean(1)


def _iou(prediction: Tensor, truth: Tensor) -> Tensor:
    """Return the IoU of bool masks ``(N, pixels)``; 1 where both are empty."""
    overlap, union = (prediction & truth).sum(1), (prediction | truth).sum(1)
    return torch.where(union > 0, overlap / union.clamp(min=1), 1.0)
