"""Trained models for other programs: ONNX, torch.export, and running the former."""

from __future__ import annotations

from syncsam_lightning.exporting.graphs import DECODER_INPUTS, ENCODER_INPUTS
from syncsam_lightning.exporting.onnx_files import OnnxFiles, export_onnx
from syncsam_lightning.exporting.onnx_model import OnnxModel
from syncsam_lightning.exporting.parity import TOLERANCE, Difference, largest_difference
from syncsam_lightning.exporting.quantisation import quantise
from syncsam_lightning.exporting.torch_programs import ProgramModel, TorchFiles, export_programs

__all__ = [
    "DECODER_INPUTS",
    "ENCODER_INPUTS",
    "TOLERANCE",
    "Difference",
    "OnnxFiles",
    "OnnxModel",
    "ProgramModel",
    "TorchFiles",
    "export_onnx",
    "export_programs",
    "largest_difference",
    "quantise",
]
