"""SAM's Vision Transformer, which SyncSAM and most of the models it is compared with begin with."""

from __future__ import annotations

from syncsam_lightning.models.vit.shape import NUM_STAGES, PATCH_SIZE, ViTShape
from syncsam_lightning.models.vit.staged import StagedViT, ViTBlock

__all__ = ["NUM_STAGES", "PATCH_SIZE", "StagedViT", "ViTBlock", "ViTShape"]
