"""Using a trained model: images, folders and volumes in, masks out. Needs no Lightning."""

from __future__ import annotations

from syncsam_lightning.prediction.answer import Prediction
from syncsam_lightning.prediction.checkpoint import load_trained
from syncsam_lightning.prediction.encoding import EncodedImage, encode_image
from syncsam_lightning.prediction.pictures import rgb_pixels
from syncsam_lightning.prediction.predictor import Predictor
from syncsam_lightning.prediction.stop_rule import StopRule
from syncsam_lightning.prediction.volume_predictor import (
    SlicePrompt,
    VolumePrediction,
    VolumePredictor,
)

__all__ = [
    "EncodedImage",
    "Prediction",
    "Predictor",
    "SlicePrompt",
    "StopRule",
    "VolumePrediction",
    "VolumePredictor",
    "encode_image",
    "load_trained",
    "rgb_pixels",
]
