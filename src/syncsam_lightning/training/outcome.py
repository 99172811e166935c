"""What an evaluation has found so far, over all ranks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule, Trainer

from syncsam_lightning.data.damage import DamagedRow
from syncsam_lightning.errors import EvaluationError
from syncsam_lightning.evaluation.prompt_file import prompt_rows, prompt_table, write_prompts
from syncsam_lightning.evaluation.report import Report
from syncsam_lightning.evaluation.runner import BatchEvaluation
from syncsam_lightning.evaluation.scores import MaskScore, score_table
from syncsam_lightning.interaction import EvaluationProtocol
from syncsam_lightning.metrics import GroupedMean
from syncsam_lightning.models import InputSpec


class EvaluationOutcome:
    """Collects scores and prompts, and reports them exactly once per row on any number of ranks.

    Rows are kept as Arrow columns: as Python objects those of a large test set would take several
    times the memory.
    """

    def __init__(self) -> None:
        self._scores: list[pa.Table] = []
        self._prompts: list[pa.Table] = []
        self._damaged: dict[int, DamagedRow] = {}
        self._protocols: Sequence[str] = ()
        self._dice = GroupedMean([])
        self._iou = GroupedMean([])

    def reset(self, module: LightningModule, protocols: Sequence[EvaluationProtocol]) -> None:
        """Begin anew.

        Args:
            module: whose trainer's datamodule knows the groups in the data.
            protocols: that will be played.
        """
        self._scores, self._prompts = [score_table([])], [prompt_table([])]
        self._damaged = {}
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

    def add(self, evaluations: Iterable[BatchEvaluation], spec: InputSpec) -> None:
        """Add what was played on a batch.

        Args:
            evaluations: one per protocol and seed.
            spec: of the model.
        """
        for evaluation in evaluations:
            self._damaged |= {row.index: row for row in evaluation.batch.damaged}
            self._scores.append(score_table(evaluation.scores))
            self._prompts.append(prompt_table(prompt_rows(evaluation, spec)))
            named = [
                (members, name)
                for members in _averaged_together(evaluation)
                for name in self._groups_of(members[0])
            ]
            names = [name for _, name in named]
            dices = [_mean([s.dice for s in members]) for members, _ in named]
            ious = [_mean([s.iou for s in members]) for members, _ in named]
            self._dice.update(torch.tensor(dices, dtype=torch.float64), names)
            self._iou.update(torch.tensor(ious, dtype=torch.float64), names)

    def _groups_of(self, score: MaskScore) -> list[str]:
        parts = {score.source, score.modality} & self._known
        return [score.protocol, *(f"{score.protocol}/{part}" for part in sorted(parts))]

    def means(self) -> dict[str, float]:
        """Return the means over all ranks and seeds, by name.

        ``dice`` and ``iou`` are means over the protocols; ``dice_box`` and the like belong to one
        protocol, ``dice_box/BTCV`` and the like to one data set or modality under it. Over what a
        protocol's mean is, masks or images, is the protocol's rule.
        """
        means: dict[str, float] = {}
        for prefix, metric in (("dice", self._dice), ("iou", self._iou)):
            found = {name: s.mean for name, s in metric.compute().items() if s.count}
            over_protocols = [found[name] for name in self._protocols if name in found]
            if over_protocols:
                means[prefix] = _mean(over_protocols)
            means |= {f"{prefix}_{name}": mean for name, mean in found.items()}
        return means

    def write(self, trainer: Trainer, folder: Path, *, unsupported: Sequence[str]) -> None:
        """Write scores, prompts and report of all ranks.

        Args:
            trainer: that ran the test.
            folder: where to.
            unsupported: names of protocols that the model could not play.

        Raises:
            EvaluationError: a row was scored twice or not at all.
        """
        scores = self._gathered(self._scores, trainer, ["seed", "index", "mask_id"])
        prompts = self._gathered(self._prompts, trainer, ["seed", "image_id", "mask_id", "round"])
        damaged = sorted(gather(list(self._damaged.values()), trainer), key=lambda row: row.index)
        if trainer.is_global_zero:
            unseen = _check_complete(scores, {row.index for row in damaged}, trainer)
            report = Report(scores, unsupported, [row.reason for row in damaged], unseen)
            report.write(folder)
            write_prompts(folder / "prompts.parquet", prompts)
            parts = [report.markdown(), report.details(), report.left_out()]
            parts.append(f"scores and prompts: {folder}")
            print("\n" + "\n\n".join(filter(None, parts)))
        trainer.strategy.barrier("report")

    def _gathered(self, parts: list[pa.Table], trainer: Trainer, keys: Sequence[str]) -> pa.Table:
        """Return the rows of all ranks, in an order that neither ranks nor batches decide."""
        gathered = gather(parts, trainer)
        if not gathered:
            return parts[0]
        table = pa.concat_tables(gathered).combine_chunks()
        place = pc.index_in(table["protocol"], pa.array(self._protocols, pa.string()))
        order = pa.table({"protocol": place} | {key: table[key] for key in keys})
        by = [(name, "ascending") for name in order.column_names]
        return table.take(pc.sort_indices(order, sort_keys=by))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _averaged_together(evaluation: BatchEvaluation) -> list[list[MaskScore]]:
    """Return the scores whose mean counts as one value under the protocol's rule."""
    if evaluation.protocol.averaging == "masks":
        return [[score] for score in evaluation.scores]
    images: dict[int, list[MaskScore]] = {}
    for score in evaluation.scores:
        images.setdefault(score.index, []).append(score)
    return list(images.values())


def _check_complete(scores: pa.Table, damaged: Set[int], trainer: Trainer) -> int:
    """Return how many images were left out because the user limited the test to some batches.

    Raises:
        EvaluationError: a mask was scored twice, or an image that was to be scored was not.
    """
    keys = ["protocol", "seed", "index", "mask_id"]
    if len(scores.group_by(keys).aggregate([])) != len(scores):
        raise EvaluationError("some masks were scored twice: is the sampler the datamodule's?")
    datamodule: Any = getattr(trainer, "datamodule", None)
    limit = trainer.limit_test_batches
    # 1.0 is all batches, but 1 is one batch, which the comparison alone can't tell.
    is_whole = isinstance(limit, float) and limit == 1.0
    if not hasattr(datamodule, "num_rows"):
        return 0
    rows, expected = np.unique(scores["index"].to_numpy()), int(datamodule.num_rows("test"))
    if not is_whole:
        return expected - len(rows) - len(damaged)
    if not np.array_equal(np.sort([*rows, *damaged]), np.arange(expected)):
        told = f", and {len(damaged)} are damaged" if damaged else ""
        raise EvaluationError(f"{len(rows)} of {expected} test images were scored{told}")
    return 0


def gather(rows: list[Any], trainer: Trainer) -> list[Any]:
    """Return the rows of all ranks on rank 0, and an empty list on the others."""
    if trainer.world_size == 1:
        return rows
    parts: list[list[Any]] | None = None
    if trainer.is_global_zero:
        parts = [[] for _ in range(trainer.world_size)]
    dist.gather_object(rows, parts, dst=0)
    return [row for part in parts or [] for row in part]
