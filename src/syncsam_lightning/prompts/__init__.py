"""Prompts (boxes, points, masks), the objects they point at, and seeded rules that draw them."""

from syncsam_lightning.prompts.central import central_clicks
from syncsam_lightning.prompts.clicks import Clicks, correction_clicks, foreground_clicks
from syncsam_lightning.prompts.jitter import BoxJitter, jitter_boxes
from syncsam_lightning.prompts.mixed import MixedPrompts
from syncsam_lightning.prompts.prompts import BACKGROUND, FOREGROUND, PADDING, Prompts
from syncsam_lightning.prompts.targets import Targets

__all__ = [
    "BACKGROUND",
    "FOREGROUND",
    "PADDING",
    "BoxJitter",
    "Clicks",
    "MixedPrompts",
    "Prompts",
    "Targets",
    "central_clicks",
    "correction_clicks",
    "foreground_clicks",
    "jitter_boxes",
]
