"""ScribblePrompt (Wong et al., ECCV 2024): a U-Net and a SAM trained on simulated interactions."""

from __future__ import annotations

from syncsam_lightning.models.baselines.scribbleprompt.sam import ScribblePromptSAM
from syncsam_lightning.models.baselines.scribbleprompt.unet import ScribblePromptUNet

__all__ = ["ScribblePromptSAM", "ScribblePromptUNet"]
