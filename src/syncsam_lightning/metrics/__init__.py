"""What is measured: overlap of masks, and means by group."""

from syncsam_lightning.metrics.grouped import GroupedMean, GroupStatistic
from syncsam_lightning.metrics.overlap import dice, iou

__all__ = ["GroupStatistic", "GroupedMean", "dice", "iou"]
