"""Prompts (boxes, points, masks), the objects they point at, and seeded rules that draw them."""

from syncsam_lightning.prompts.prompts import Prompts
from syncsam_lightning.prompts.targets import Targets

__all__ = ["Prompts", "Targets"]
