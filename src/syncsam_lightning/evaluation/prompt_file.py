"""Prompts on disk, in original pixels, so that two models meet equal ones."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.errors import PromptFileError
from syncsam_lightning.evaluation.runner import BatchEvaluation
from syncsam_lightning.interaction import EvaluationProtocol
from syncsam_lightning.models import InputSpec
from syncsam_lightning.prompts import Prompts
from syncsam_lightning.whole_files import whole_file

_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("mask_id", pa.int32()),
        ("protocol", pa.string()),
        ("version", pa.int32()),
        ("seed", pa.int64()),
        ("round", pa.int32()),
        ("box", pa.list_(pa.float64())),
        ("points", pa.list_(pa.list_(pa.float64(), 2))),
        ("point_labels", pa.list_(pa.int8())),
    ]
)


@dataclass(frozen=True, slots=True)
class PromptRow:
    """What one object was prompted with in one round, in original pixels.

    Args:
        image_id, mask_id: which object.
        protocol, version, seed, round: when; see
            :class:`~syncsam_lightning.evaluation.scores.MaskScore`, whose rows these belong to.
        box: x0, y0, x1, y1, or None.
        points: x, y of each point shown, earlier ones included, or None.
        point_labels: 1, 0 or -1 for each, or None.
    """

    image_id: str
    mask_id: int
    protocol: str
    version: int
    seed: int
    round: int
    box: list[float] | None
    points: list[list[float]] | None
    point_labels: list[int] | None


def prompt_rows(evaluation: BatchEvaluation, spec: InputSpec) -> list[PromptRow]:
    """Return what the objects of valid images were prompted with.

    Args:
        evaluation: what was played on them.
        spec: of the model, whose frame the prompts are in.
    """
    rows: list[PromptRow] = []
    batch, begin = evaluation.batch, 0
    counts = batch.targets.image_index.bincount(minlength=batch.num_images).tolist()
    for info, count in zip(batch.infos, counts, strict=True):
        members = slice(begin, begin + count)
        begin += count
        if not info.valid:
            continue
        plan = spec.plan(info.height, info.width)
        for number, prompts in enumerate(evaluation.rounds):
            box, points, labels = prompts.boxes, prompts.points, prompts.point_labels
            drawn = zip(
                batch.objects[members],
                [None] * count if box is None else plan.boxes_to_original(box[members]).tolist(),
                [None] * count
                if points is None
                else plan.points_to_original(points[members]).tolist(),
                [None] * count if labels is None else labels[members].tolist(),
                strict=True,
            )
            rows += [
                PromptRow(
                    image_id=info.id,
                    mask_id=entry.mask_id,
                    protocol=evaluation.protocol.name,
                    version=evaluation.protocol.version,
                    seed=evaluation.seed,
                    round=number,
                    box=of_box,
                    points=of_points,
                    point_labels=of_labels,
                )
                for entry, of_box, of_points, of_labels in drawn
            ]
    return rows


def prompt_table(rows: Sequence[PromptRow]) -> pa.Table:
    """Return rows as columns, in their order."""
    columns = {name: [getattr(row, name) for row in rows] for name in _SCHEMA.names}
    return pa.table(columns, schema=_SCHEMA)


def write_prompts(path: str | os.PathLike[str], prompts: pa.Table) -> None:
    """Write what :func:`prompt_table` returns as Parquet; the file appears whole or not at all."""
    with whole_file(Path(path)) as file:
        pq.write_table(prompts, file)


class RecordedPrompts:
    """A prompt file, by object.

    Args:
        path: of a file that :func:`write_prompts` made.

    Raises:
        PromptFileError: the file is missing or no prompt file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise PromptFileError(f"prompt file {self.path} does not exist")
        try:
            # Each row has a prompt of some bytes: a file of fewer bytes than rows is a bomb.
            if pq.read_metadata(self.path).num_rows > self.path.stat().st_size:
                raise PromptFileError(f"{self.path} declares more rows than it can hold")
            table = pq.read_table(self.path, columns=_SCHEMA.names).cast(_SCHEMA)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise PromptFileError(f"{self.path} is no prompt file: {error}") from error
        self._rows: dict[tuple[str, int, str, int, int], PromptRow] = {}
        for values in table.to_pylist():
            row = PromptRow(**values)
            self._check_values(row)
            key = (row.protocol, row.seed, row.image_id, row.mask_id, row.round)
            if key in self._rows:
                raise PromptFileError(f"{self.path} holds {_name(row)} twice")
            self._rows[key] = row

    def _check_values(self, row: PromptRow) -> None:
        """Raise unless every number that makes up a prompt is there."""
        numbers = [*(row.box or ()), *(n for xy in row.points or () for n in xy or (None,))]
        identity = (row.image_id, row.mask_id, row.protocol, row.version, row.seed, row.round)
        if None in (*identity, *(row.point_labels or ())) or not all(
            number is not None and math.isfinite(number) for number in numbers
        ):
            raise PromptFileError(f"{self.path}: {_name(row)} has a value that is no number")

    def rounds(
        self, batch: ImageBatch, protocol: EvaluationProtocol, spec: InputSpec, seed: int = 0
    ) -> list[Prompts]:
        """Return the prompts of each round for all objects of a batch, in the model frame.

        Args:
            batch: the images and objects.
            protocol: whose prompts.
            spec: of the model that is to be prompted.
            seed: that they were drawn with.

        Raises:
            PromptFileError: an object has no prompts in the file, or they were recorded with
                another version of the protocol.
        """
        played = []
        for number in range(protocol.num_rounds):
            boxes, points, labels = [], [], []
            first: PromptRow | None = None
            for position, image in enumerate(batch.targets.image_index.tolist()):
                info = batch.infos[image]
                mask_id = batch.objects[position].mask_id
                row = self._row(protocol, seed, info.id, mask_id, number)
                first = first or row
                self._check_alike(row, first)
                plan = spec.plan(info.height, info.width)
                if row.box is not None:
                    boxes.append(plan.boxes_to_model(torch.tensor(row.box, dtype=torch.float64)))
                if row.points is not None and row.point_labels is not None:
                    xy = torch.tensor(row.points, dtype=torch.float64).view(-1, 2)
                    points.append(plan.points_to_model(xy))
                    labels.append(torch.tensor(row.point_labels, dtype=torch.int64))
            played.append(
                Prompts(
                    image_index=batch.targets.image_index.cpu(),
                    boxes=_stack(boxes),
                    points=_stack(points),
                    point_labels=_stack(labels),
                )
            )
        return played

    def _row(
        self, protocol: EvaluationProtocol, seed: int, image_id: str, mask_id: int, number: int
    ) -> PromptRow:
        row = self._rows.get((protocol.name, seed, image_id, mask_id, number))
        if row is None:
            raise PromptFileError(
                f"{self.path} has no prompts for mask {mask_id} of image {image_id} in round "
                f"{number} of protocol {protocol.name} with seed {seed}: record them on the same "
                "table with the same model.eval_seeds"
            )
        if row.version != protocol.version:
            raise PromptFileError(
                f"{self.path} was recorded with version {row.version} of protocol "
                f"{protocol.name}, this is version {protocol.version}"
            )
        return row

    def _check_alike(self, row: PromptRow, first: PromptRow) -> None:
        """Raise unless a row is whole and of the same kind as another of its batch and round."""
        if _kind(row) != _kind(first):
            raise PromptFileError(
                f"{self.path} holds {_describe(row)} for {_name(row)}, but {_describe(first)} for "
                f"{_name(first)}: all objects of a round need the same kinds of prompts"
            )
        if row.box is not None and len(row.box) != 4:
            raise PromptFileError(
                f"{self.path}: the box of {_name(row)} must have 4 numbers, got {len(row.box)}"
            )
        if len(row.points or ()) != len(row.point_labels or ()):
            raise PromptFileError(
                f"{self.path}: {_name(row)} has {len(row.points or ())} points but "
                f"{len(row.point_labels or ())} labels"
            )


def _kind(row: PromptRow) -> tuple[bool, int | None]:
    return row.box is not None, None if row.points is None else len(row.points)


def _describe(row: PromptRow) -> str:
    box = ["a box"] if row.box is not None else []
    points = [f"{len(row.points)} points"] if row.points is not None else []
    return " and ".join(box + points) or "no prompt"


def _name(row: PromptRow) -> str:
    return (
        f"mask {row.mask_id} of image {row.image_id} in round {row.round} of protocol "
        f"{row.protocol}"
    )


def _stack(tensors: Sequence[Tensor]) -> Tensor | None:
    return torch.stack(list(tensors)) if tensors else None
