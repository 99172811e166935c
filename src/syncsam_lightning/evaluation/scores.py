"""What an evaluation says about one mask."""

from __future__ import annotations

from dataclasses import dataclass, fields


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
        dice: DSC in [0, 1]; two empty masks agree: 1.
        iou: intersection over union in [0, 1].
        fill_box_dice: DSC of a prediction that fills the tight box, the trivial baseline.
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


SCORE_FIELDS = tuple(field.name for field in fields(MaskScore))


def fill_box_dice(area: int, box_area: float) -> float:
    """Return the DSC of filling a box that contains the object: 2A / (A + box)."""
    return 2 * area / (area + box_area)
