"""Medical volumes: NIfTI files and DICOM series, their planes and grey-value windows."""

from __future__ import annotations

from syncsam_lightning.volumes.planes import PLANES, Plane, coarsest_plane, stack_of, unstacked
from syncsam_lightning.volumes.volume import Volume
from syncsam_lightning.volumes.windows import PRESETS, RULES, Window, parse_window

__all__ = [
    "PLANES",
    "PRESETS",
    "RULES",
    "Plane",
    "Volume",
    "Window",
    "coarsest_plane",
    "parse_window",
    "stack_of",
    "unstacked",
]
