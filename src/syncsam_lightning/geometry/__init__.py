"""Coordinates and shapes: the resize plan, and boxes of masks."""

from syncsam_lightning.geometry.boxes import masks_to_boxes
from syncsam_lightning.geometry.resize import Fit, ResizePlan

__all__ = ["Fit", "ResizePlan", "masks_to_boxes"]
