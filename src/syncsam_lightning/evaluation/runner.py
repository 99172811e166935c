"""Playing a protocol on a batch and scoring the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from syncsam_lightning.data.batch import ImageBatch, ImageInfo
from syncsam_lightning.evaluation.even_parts import decode_evenly
from syncsam_lightning.evaluation.objects import (
    originals,
    with_first_clicks,
    with_mask_rule,
    with_seed,
    with_unit,
)
from syncsam_lightning.evaluation.scores import MaskScore, fill_box_dice
from syncsam_lightning.geometry import PackedMasks
from syncsam_lightning.interaction import EvaluationProtocol, run_rounds
from syncsam_lightning.metrics import SurfaceMetrics, dice, iou
from syncsam_lightning.models import ImageFeatures, PromptableModel
from syncsam_lightning.prompts import Prompts


@dataclass(frozen=True, slots=True)
class BatchEvaluation:
    """What a protocol gave on a batch.

    Args:
        protocol: that was played.
        batch: the images, with the objects that the protocol prompts for.
        rounds: the prompts of each round, of all N objects.
        predictions: per image n_b masks ``(H_b, W_b)`` at the original resolution, packed, in the
            order of the batch's objects.
        scores: of every object whose image is valid, in that order.
        seed: of the clicks; 0 where the protocol draws nothing.
    """

    protocol: EvaluationProtocol
    batch: ImageBatch
    rounds: Sequence[Prompts]
    predictions: Sequence[PackedMasks]
    scores: Sequence[MaskScore]
    seed: int = 0

    def to(self, device: torch.device | str, non_blocking: bool = False) -> BatchEvaluation:
        """Return the same with every tensor on ``device``."""
        return replace(
            self,
            batch=self.batch.to(device, non_blocking),
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
    seed: int = 0,
    replay: Sequence[Prompts] | None = None,
    surface: SurfaceMetrics | None = None,
) -> BatchEvaluation:
    """Play a protocol and score its last answer.

    At the original size no more than a part of the objects of one image is held at a time, see
    :meth:`ResizePlan.parts`; what is kept of the answers are bits.

    Args:
        model: in eval mode.
        features: of the batch's images, which serve any number of protocols and seeds.
        batch: from an evaluation loader.
        protocol: what the simulated user does.
        seed: of the simulated clicks.
        replay: recorded prompts of each round, to be played instead.
        surface: measures the outlines too; None: they are left out.

    Raises:
        ValueError: the batch has no masks at the original resolution.
        UnsupportedPromptError: the model can't be prompted this way.
        PromptFileError: the recorded prompts don't fit.
    """
    batch = with_seed(with_unit(batch, protocol.unit), seed)
    batch = with_mask_rule(batch, protocol.mask_rule, model.input_spec)
    batch = with_first_clicks(batch, model.input_spec)
    truths, _ = originals(batch)
    policy = (
        protocol.policy(model.input_spec.feedback)
        if replay is None
        else protocol.replay(replay, model.input_spec.feedback)
    )
    played = list(
        run_rounds(lambda prompts: decode_evenly(model, features, prompts), batch.targets, policy)
    )
    logits = played[-1].logits
    scoring = _Scoring(batch, protocol, seed, surface)
    predictions, scores, begin = [], [], 0
    for info, truth in zip(batch.infos, truths, strict=True):
        plan = model.input_spec.plan(info.height, info.width)
        answers = logits[begin : begin + len(truth)]
        packed = [PackedMasks.of(answers.new_zeros(0, *truth.shape[1:], dtype=torch.bool))]
        for part in plan.parts(len(truth)):
            prediction = plan.logits_to_original(answers[part]) > 0
            packed.append(PackedMasks.of(prediction))
            if info.valid:
                scores += scoring.scores(info, begin + part.start, prediction, truth[part])
        predictions.append(PackedMasks.joined(packed))
        begin += len(truth)
    rounds = [turn.prompts for turn in played]
    return BatchEvaluation(protocol, batch, rounds, predictions, scores, seed)


@dataclass(frozen=True, slots=True)
class _Scoring:
    batch: ImageBatch
    protocol: EvaluationProtocol
    seed: int
    surface: SurfaceMetrics | None

    def scores(
        self, info: ImageInfo, begin: int, prediction: Tensor, truth: Tensor
    ) -> list[MaskScore]:
        """Return the scores of some objects of one image, the first of which is at ``begin``."""
        empty, decimals = self.protocol.empty_dice, self.protocol.decimals
        dices = dice(prediction, truth, empty=empty).tolist()
        ious = iou(prediction, truth, empty=empty).tolist()
        if decimals is not None:
            dices, ious = ([round(v, decimals) for v in values] for values in (dices, ious))
        outlines = None if self.surface is None else self.surface(prediction, truth)
        scores = []
        for number, entry in enumerate(self.batch.objects[begin : begin + len(truth)]):
            outline = None if outlines is None else outlines[number]
            scores.append(
                MaskScore(
                    index=info.index,
                    image_id=info.id,
                    mask_id=entry.mask_id,
                    label=entry.label,
                    source=info.source,
                    modality=info.modality,
                    case=info.case,
                    protocol=self.protocol.name,
                    version=self.protocol.version,
                    area=entry.area,
                    dice=dices[number],
                    iou=ious[number],
                    fill_box_dice=fill_box_dice(entry.area, self._box_area(begin + number)),
                    seed=self.seed,
                    hd95=None if outline is None else outline.hd95,
                    nsd=None if outline is None else outline.nsd,
                )
            )
        return scores

    def _box_area(self, position: int) -> float:
        _, boxes = originals(self.batch)
        x0, y0, x1, y1 = boxes[position].tolist()
        return float((x1 - x0) * (y1 - y0))
