"""Using a trained model. Needs no Lightning."""

from __future__ import annotations

from syncsam_lightning.prediction.checkpoint import TrainedModel, load_trained

__all__ = ["TrainedModel", "load_trained"]
