"""How the rounds of an episode become optimiser steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, repeat

import torch
from torch import Tensor

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.interaction import Policy, run_rounds
from syncsam_lightning.losses import LossTerms, PromptLoss
from syncsam_lightning.models import ImageFeatures, PromptableModel, ScoredMasks
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
    return _mean(list(_play(model, repeat(features), loss, batch, policy)))


def per_round_losses(
    model: PromptableModel, loss: PromptLoss, batch: ImageBatch, policy: Policy
) -> Iterator[LossTerms]:
    """Play an episode and yield the loss of every round, each for a step of its own.

    SAM-Med2D's schedule: the first round trains everything, later ones work on the detached image
    features. The next round is played by the model as the step has left it.
    """
    features = model.encode(batch.images, batch.targets.sizes)
    yield from _play(model, chain([features], repeat(features.detach())), loss, batch, policy)


def _play(
    model: PromptableModel,
    features: Iterator[ImageFeatures],
    loss: PromptLoss,
    batch: ImageBatch,
    policy: Policy,
) -> Iterator[LossTerms]:
    """Yield the loss of each round, decoded from the next of ``features``."""
    scored: list[ScoredMasks] = []

    def decode(prompts: Prompts) -> Tensor:
        scored[:] = [model.decode_scored(next(features), prompts)]
        return scored[0].logits

    for played in run_rounds(decode, batch.targets, policy):
        yield loss.terms(played.logits, batch.targets.masks, scored[0].predicted_iou)


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
