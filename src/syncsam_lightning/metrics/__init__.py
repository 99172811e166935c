"""What is measured: overlap of masks, distance of outlines, and means by group."""

from syncsam_lightning.metrics.grouped import GroupedMean, GroupStatistic
from syncsam_lightning.metrics.overlap import dice, iou
from syncsam_lightning.metrics.surface import SurfaceDistance, SurfaceMetrics

__all__ = ["GroupStatistic", "GroupedMean", "SurfaceDistance", "SurfaceMetrics", "dice", "iou"]
