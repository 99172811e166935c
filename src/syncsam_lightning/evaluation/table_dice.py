"""The mean DSC of a model on the images of a table, without a trainer."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from syncsam_lightning.data.collate import collate
from syncsam_lightning.data.dataset import EvaluationSet
from syncsam_lightning.data.index import TableIndex
from syncsam_lightning.data.rows import TableRows
from syncsam_lightning.data.sampler import EvaluationKey
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import EvaluationError
from syncsam_lightning.evaluation.evaluator import Evaluator
from syncsam_lightning.interaction import get_protocol
from syncsam_lightning.models import PromptableModel
from syncsam_lightning.records import Split


@dataclass(frozen=True, slots=True)
class MeanDice:
    """A mean over masks.

    Args:
        value: mean DSC in [0, 1].
        masks: how many masks it is over.
        images: on how many images these lie.
    """

    value: float
    masks: int
    images: int


def table_dice(
    model: PromptableModel,
    table: str | os.PathLike[str],
    *,
    split: Split = "test",
    protocol: str = "box",
    max_images: int | None = None,
    seed: int = 0,
) -> MeanDice:
    """Measure a model on the CPU, image by image.

    Args:
        model: in eval mode.
        table: a prepared table.
        split: its images.
        protocol: how they are prompted.
        max_images: the first so many of them; None: all.
        seed: of simulated clicks.

    Raises:
        EvaluationError: the split has no images.
        TableError: the table can't be read.
        ValueError: the protocol is unknown.
    """
    source = Table(table)
    offsets = np.flatnonzero(TableIndex.read(source).in_split(split)).astype(np.int32)
    offsets = offsets[:max_images]
    if not len(offsets):
        raise EvaluationError(f"{table} has no images in its split {split!r}: choose another")
    spec = model.input_spec
    images = EvaluationSet(
        TableRows(source, offsets), image_size=spec.size, image_fit=spec.fit, seed=seed
    )
    evaluator = Evaluator([get_protocol(protocol)], (seed,))
    scores: list[float] = []
    with torch.no_grad():
        for row in tqdm(range(len(images)), unit="image", desc="DSC", disable=None):
            batch = collate([images[EvaluationKey(row, valid=True)]])
            for evaluation in evaluator.evaluate(model, batch):
                scores += [score.dice for score in evaluation.scores]
    return MeanDice(float(np.mean(scores)), len(scores), len(images))
