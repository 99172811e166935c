"""Coordinates and shapes: the resize plan, and boxes and components of masks."""

from syncsam_lightning.geometry.boxes import masks_to_boxes
from syncsam_lightning.geometry.components import largest_components
from syncsam_lightning.geometry.packed_masks import PackedMasks, parts_of
from syncsam_lightning.geometry.resize import Fit, ResizePlan, image_origins

__all__ = [
    "Fit",
    "PackedMasks",
    "ResizePlan",
    "image_origins",
    "largest_components",
    "masks_to_boxes",
    "parts_of",
]
