"""What an evaluation has found so far, over all ranks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.errors import EvaluationError
from syncsam_lightning.evaluation.prompt_file import PromptRow, prompt_rows, write_prompts
from syncsam_lightning.evaluation.report import Report
from syncsam_lightning.evaluation.runner import BatchEvaluation
from syncsam_lightning.evaluation.scores import MaskScore
from syncsam_lightning.interaction import EvaluationProtocol
from syncsam_lightning.metrics import GroupedMean
from syncsam_lightning.models import InputSpec


class EvaluationOutcome:
    """Collects scores and prompts, and reports them exactly once per row on any number of ranks."""

    def __init__(self) -> None:
        self.scores: list[MaskScore] = []
        self.prompts: list[PromptRow] = []
        self._protocols: Sequence[str] = ()
        self._dice = GroupedMean([])
        self._iou = GroupedMean([])

    def reset(self, module: LightningModule, protocols: Sequence[EvaluationProtocol]) -> None:
        """Begin anew.

        Args:
            module: whose trainer's datamodule knows the groups in the data.
            protocols: that will be played.
        """
        self.scores, self.prompts = [], []
        self._protocols = [protocol.name for protocol in protocols]
        datamodule: Any = getattr(module.trainer, "datamodule", None)
        kinds = datamodule.groups() if hasattr(datamodule, "groups") else None
        parts = [] if kinds is None else [*kinds.sources, *kinds.modalities]
        self._known = frozenset(parts)
        names = [
            name
            for protocol in self._protocols
            for name in (protocol, *(f"{protocol}/{part}" for part in sorted(self._known)))
        ]
        self._dice = GroupedMean(names).to(module.device)
        self._iou = GroupedMean(names).to(module.device)

    def add(
        self, batch: ImageBatch, evaluations: Iterable[BatchEvaluation], spec: InputSpec
    ) -> None:
        """Add what the protocols gave on a batch.

        Args:
            batch: the images and objects.
            evaluations: one per protocol.
            spec: of the model.
        """
        for evaluation in evaluations:
            self.scores += evaluation.scores
            self.prompts += prompt_rows(batch, evaluation, spec)
            named = [
                (score, name) for score in evaluation.scores for name in self._groups_of(score)
            ]
            names = [name for _, name in named]
            for metric, values in (
                (self._dice, [score.dice for score, _ in named]),
                (self._iou, [score.iou for score, _ in named]),
            ):
                metric.update(torch.tensor(values, dtype=torch.float64), names)

    def _groups_of(self, score: MaskScore) -> list[str]:
        parts = {score.source, score.modality} & self._known
        return [score.protocol, *(f"{score.protocol}/{part}" for part in sorted(parts))]

    def means(self) -> dict[str, float]:
        """Return the means over all ranks, by name.

        ``dice`` and ``iou`` are means over the protocols; ``dice_box`` and the like belong to one
        protocol, ``dice_box/BTCV`` and the like to one data set or modality under it.
        """
        means: dict[str, float] = {}
        for prefix, metric in (("dice", self._dice), ("iou", self._iou)):
            found = {name: s.mean for name, s in metric.compute().items() if s.count}
            over_protocols = [found[name] for name in self._protocols if name in found]
            if over_protocols:
                means[prefix] = math.fsum(over_protocols) / len(over_protocols)
            means |= {f"{prefix}_{name}": mean for name, mean in found.items()}
        return means

    def write(self, trainer: Trainer) -> None:
        """Write scores, prompts and report of all ranks into the run's folder, below ``test``.

        Raises:
            EvaluationError: a row was scored twice or not at all.
        """
        folder = Path(trainer.log_dir or trainer.default_root_dir) / "test"
        scores = sorted(
            gather(self.scores, trainer),
            key=lambda s: (self._order(s.protocol), s.index, s.mask_id),
        )
        prompts = sorted(
            gather(self.prompts, trainer),
            key=lambda p: (self._order(p.protocol), p.image_id, p.mask_id, p.round),
        )
        if trainer.is_global_zero:
            self._check_complete(scores, trainer)
            report = Report(scores)
            report.write(folder)
            write_prompts(folder / "prompts.parquet", prompts)
            print(f"\n{report.markdown()}\n\nscores, prompts and report: {folder}")
        trainer.strategy.barrier("report")

    def _order(self, protocol: str) -> int:
        return list(self._protocols).index(protocol)

    def _check_complete(self, scores: Sequence[MaskScore], trainer: Trainer) -> None:
        seen = [(s.protocol, s.index, s.mask_id) for s in scores]
        if len(set(seen)) != len(seen):
            raise EvaluationError("some masks were scored twice: is the sampler the datamodule's?")
        datamodule: Any = getattr(trainer, "datamodule", None)
        limit = trainer.limit_test_batches
        # 1.0 is all batches, but 1 is one batch, which the comparison alone can't tell.
        is_whole = isinstance(limit, float) and limit == 1.0
        if not is_whole or not hasattr(datamodule, "num_rows"):
            return
        rows, expected = {s.index for s in scores}, datamodule.num_rows("test")
        if rows != set(range(expected)):
            raise EvaluationError(f"{len(rows)} of {expected} test images were scored")


def gather(rows: list[Any], trainer: Trainer) -> list[Any]:
    """Return the rows of all ranks on rank 0, and an empty list on the others."""
    if trainer.world_size == 1:
        return rows
    parts: list[list[Any]] | None = None
    if trainer.is_global_zero:
        parts = [[] for _ in range(trainer.world_size)]
    dist.gather_object(rows, parts, dst=0)
    return [row for part in parts or [] for row in part]
