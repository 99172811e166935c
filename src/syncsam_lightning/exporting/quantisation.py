"""Weights of eight bits in an ONNX file."""

from __future__ import annotations

import logging
from pathlib import Path

from syncsam_lightning.exporting.onnx_files import OnnxFiles, check_packages

_OPERATORS = ("MatMul", "Gemm")


def quantise(files: OnnxFiles, folder: Path) -> OnnxFiles:
    """Write copies whose matrix products take weights of eight bits (dynamic quantisation).

    ONNX Runtime chooses the scale of activations while it runs, so no calibration data are needed.
    Convolutions keep their weights: their integer kernels are slower than the others on most CPUs,
    and lose more.

    Args:
        files: of an export.
        folder: for the copies; it is there already.

    Raises:
        MissingPackageError: ONNX Runtime is not installed.
    """
    check_packages()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    copies = OnnxFiles.inside(folder)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends a preprocessing that torch's exporter has done
    try:
        for source, target in ((files.encoder, copies.encoder), (files.decoder, copies.decoder)):
            quantize_dynamic(
                source,
                target,
                op_types_to_quantize=list(_OPERATORS),
                nodes_to_exclude=_stacked_products(source),
                per_channel=True,
                weight_type=QuantType.QInt8,
            )
    finally:
        root.setLevel(level)
    return copies


def _stacked_products(path: Path) -> list[str]:
    """Return the names of products with a stack of constant matrices (tables of positions).

    ONNX Runtime can't multiply by these in eight bits with a scale per channel.
    """
    import onnx

    graph = onnx.load(str(path)).graph
    dimensions = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    return [
        node.name
        for node in graph.node
        if node.op_type in _OPERATORS and any(dimensions.get(name, 2) != 2 for name in node.input)
    ]
