"""Playing a protocol on a batch and scoring the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from syncsam_lightning.data.batch import ImageBatch, ImageInfo
from syncsam_lightning.evaluation.scores import MaskScore, fill_box_dice
from syncsam_lightning.interaction import EvaluationProtocol, run_rounds
from syncsam_lightning.metrics import dice, iou
from syncsam_lightning.models import ImageFeatures, PromptableModel
from syncsam_lightning.prompts import Prompts


@dataclass(frozen=True, slots=True)
class BatchEvaluation:
    """What a protocol gave on a batch.

    Args:
        protocol: that was played.
        rounds: the prompts of each round, of all N objects.
        predictions: per image ``(n_b, H_b, W_b)`` bool at the original resolution, in the order of
            the batch's objects.
        scores: of every object whose image is valid, in that order.
    """

    protocol: EvaluationProtocol
    rounds: Sequence[Prompts]
    predictions: Sequence[Tensor]
    scores: Sequence[MaskScore]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> BatchEvaluation:
        """Return the same with every tensor on ``device``."""
        return replace(
            self,
            rounds=[prompts.to(device, non_blocking) for prompts in self.rounds],
            predictions=[mask.to(device, non_blocking=non_blocking) for mask in self.predictions],
        )


@torch.no_grad()
def evaluate_batch(
    model: PromptableModel,
    features: ImageFeatures,
    batch: ImageBatch,
    protocol: EvaluationProtocol,
    *,
    replay: Sequence[Prompts] | None = None,
) -> BatchEvaluation:
    """Play a protocol and score its last answer.

    Args:
        model: in eval mode.
        features: of the batch's images, which serve any number of protocols.
        batch: from an evaluation loader.
        protocol: what the simulated user does.
        replay: recorded prompts of each round, to be played instead.

    Raises:
        ValueError: the batch has no masks at the original resolution.
        UnsupportedPromptError: the model can't be prompted this way.
        PromptFileError: the recorded prompts don't fit.
    """
    if batch.original_masks is None:
        raise ValueError("evaluation needs masks at the original resolution: use another loader")
    policy = protocol.policy() if replay is None else protocol.replay(replay)
    played = list(
        run_rounds(lambda prompts: model.decode(features, prompts), batch.targets, policy)
    )
    logits = played[-1].logits
    predictions, scores, begin = [], [], 0
    for info, truth in zip(batch.infos, batch.original_masks, strict=True):
        end = begin + len(truth)
        plan = model.input_spec.plan(info.height, info.width)
        prediction = plan.logits_to_original(logits[begin:end]) > 0
        predictions.append(prediction)
        if info.valid:
            scores += _scores(batch, info, protocol, begin, prediction, truth)
        begin = end
    return BatchEvaluation(protocol, [r.prompts for r in played], predictions, scores)


def _scores(
    batch: ImageBatch,
    info: ImageInfo,
    protocol: EvaluationProtocol,
    begin: int,
    prediction: Tensor,
    truth: Tensor,
) -> list[MaskScore]:
    overlaps = zip(dice(prediction, truth).tolist(), iou(prediction, truth).tolist(), strict=True)
    scores = []
    for position, (dice_score, iou_score) in enumerate(overlaps, start=begin):
        entry = batch.objects[position]
        scores.append(
            MaskScore(
                index=info.index,
                image_id=info.id,
                mask_id=entry.mask_id,
                label=entry.label,
                source=info.source,
                modality=info.modality,
                case=info.case,
                protocol=protocol.name,
                version=protocol.version,
                area=entry.area,
                dice=dice_score,
                iou=iou_score,
                fill_box_dice=fill_box_dice(entry.area, _box_area(batch, position)),
            )
        )
    return scores


def _box_area(batch: ImageBatch, position: int) -> float:
    if batch.original_boxes is None:
        raise ValueError("evaluation needs boxes in original pixels: use another loader")
    x0, y0, x1, y1 = batch.original_boxes[position].tolist()
    return float((x1 - x0) * (y1 - y0))
