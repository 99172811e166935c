"""How the rounds of an episode become optimiser steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.interaction import Policy, run_rounds
from syncsam_lightning.losses import LossTerms, PromptLoss
from syncsam_lightning.models import ImageFeatures, PromptableModel
from syncsam_lightning.prompts import Prompts


@dataclass(frozen=True, slots=True)
class EpisodeLoss:
    """Losses of an episode, means over its rounds; scalars.

    Args:
        total: what is minimised.
        dice: unweighted Dice loss.
        focal: unweighted focal loss.
    """

    total: Tensor
    dice: Tensor
    focal: Tensor


def joint_loss(
    model: PromptableModel, loss: PromptLoss, batch: ImageBatch, policy: Policy
) -> EpisodeLoss:
    """Play an episode and return the mean loss of its rounds, for one backward pass."""
    features = model.encode(batch.images, batch.targets.sizes)
    rounds = run_rounds(lambda prompts: model.decode(features, prompts), batch.targets, policy)
    return _mean([loss.terms(played.logits, batch.targets.masks) for played in rounds])


def per_round_losses(
    model: PromptableModel, loss: PromptLoss, batch: ImageBatch, policy: Policy
) -> Iterator[LossTerms]:
    """Play an episode and yield the loss of every round, each for a step of its own.

    SAM-Med2D's schedule: the first round trains everything, later ones work on the detached image
    features. The next round is played by the model as the step has left it.
    """
    features = model.encode(batch.images, batch.targets.sizes)
    decode = _decoder(model, features)
    for played in run_rounds(decode, batch.targets, policy):
        yield loss.terms(played.logits, batch.targets.masks)


def _decoder(model: PromptableModel, features: ImageFeatures) -> Callable[[Prompts], Tensor]:
    detached = features.detach()
    fresh = iter([features])

    def decode(prompts: Prompts) -> Tensor:
        return model.decode(next(fresh, detached), prompts)

    return decode


def mean_of_rounds(rounds: list[LossTerms]) -> EpisodeLoss:
    """Return detached means, for logging."""
    mean = _mean(rounds)
    return EpisodeLoss(mean.total.detach(), mean.dice.detach(), mean.focal.detach())


def _mean(rounds: list[LossTerms]) -> EpisodeLoss:
    return EpisodeLoss(
        total=torch.stack([terms.total for terms in rounds]).mean(),
        dice=torch.stack([terms.dice for terms in rounds]).mean(),
        focal=torch.stack([terms.focal for terms in rounds]).mean(),
    )
