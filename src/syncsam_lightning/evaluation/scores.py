"""What an evaluation says about one mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class MaskScore:
    """The scores of one mask under one protocol, at the original resolution.

    Args:
        index: position of the image's row in its split.
        image_id: id of the image.
        mask_id: number of the mask within the row.
        label: class name.
        source, modality, case: of the image.
        protocol: name of the protocol.
        version: of the protocol.
        area: foreground pixels of the truth.
        dice: DSC in [0, 1]; two empty masks score what the protocol says, by
            default 1.
        iou: intersection over union in [0, 1].
        fill_box_dice: DSC of a prediction that fills the tight box, the trivial baseline.
        seed: of the simulated clicks; 0 where the protocol draws nothing.
        hd95: 95 % Hausdorff distance in pixels of the original image; None: not measured.
        nsd: normalised surface distance (surface Dice) in [0, 1]; None: not measured.
    """

    index: int
    image_id: str
    mask_id: int
    label: str
    source: str
    modality: str
    case: str
    protocol: str
    version: int
    area: int
    dice: float
    iou: float
    fill_box_dice: float
    seed: int = 0
    hd95: float | None = None
    nsd: float | None = None


SCORE_FIELDS = tuple(field.name for field in fields(MaskScore))

_ARROW_TYPES = {
    "int": pa.int64(),
    "str": pa.string(),
    "float": pa.float64(),
    "float | None": pa.float64(),
}
SCORE_SCHEMA = pa.schema(
    [(field.name, _ARROW_TYPES[str(field.type)]) for field in fields(MaskScore)]
)
"""Columns of ``scores.parquet``."""


def score_table(scores: Sequence[MaskScore]) -> pa.Table:
    """Return scores as columns, in their order."""
    columns = {name: [getattr(score, name) for score in scores] for name in SCORE_FIELDS}
    return pa.table(columns, schema=SCORE_SCHEMA)


def fill_box_dice(area: int, box_area: float) -> float:
    """Return the DSC of filling a box that contains the object: 2A / (A + box); 1 for 0 and 0."""
    if area == box_area == 0:
        return 1.0
    return 2 * area / (area + box_area)
