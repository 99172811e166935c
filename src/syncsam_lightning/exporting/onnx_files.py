"""ONNX files of a model: an encoder and a decoder."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from syncsam_lightning.errors import ExportError, MissingPackageError
from syncsam_lightning.exporting.graphs import Graph, decoder_graph, encoder_graph
from syncsam_lightning.models import PromptableModel

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
INPUT_KEYS = ("size", "mask_size", "fit", "prompts", "feedback")
"""Metadata of both files: what the model takes (see :class:`InputSpec`), as JSON values."""
WINDOWS_KEY = "windows"
"""Metadata of both files: what the model saw volumes with in training, a list of names as JSON."""

_OPSET = 18  # the newest that needs no conversion by torch's exporter


@dataclass(frozen=True, slots=True)
class OnnxFiles:
    """Where a model's ONNX files are.

    Args:
        encoder: path of the encoder.
        decoder: path of the decoder.
    """

    encoder: Path
    decoder: Path

    @classmethod
    def inside(cls, folder: Path) -> OnnxFiles:
        """Return the files that an export leaves in a folder."""
        return cls(folder / ENCODER, folder / DECODER)


def export_onnx(model: PromptableModel, folder: Path, windows: Sequence[str] = ()) -> OnnxFiles:
    """Write a model's encoder and decoder as ONNX; nothing is checked yet.

    Numbers of images, objects and points stay open. Weights are inside the files.

    Args:
        model: on the CPU; put in eval mode.
        folder: for ``encoder.onnx`` and ``decoder.onnx``; it is there already.
        windows: that the model saw volumes with in training, for the metadata; see
            :func:`~syncsam_lightning.hub.write_folder`.

    Raises:
        ExportError: the model's code can't be turned into a graph.
        MissingPackageError: the packages of the extra ``export`` are not installed.
    """
    check_packages()
    model.eval()
    files = OnnxFiles.inside(folder)
    for graph, path in (
        (encoder_graph(model), files.encoder),
        (decoder_graph(model), files.decoder),
    ):
        _write(graph, path, model, windows)
    return files


def check_packages() -> None:
    """Raise :class:`MissingPackageError` unless ONNX files can be written and run here."""
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            f"ONNX needs the package {error.name}: pip install 'syncsam-lightning[export]'"
        ) from error
    del onnx, onnxruntime


def _write(graph: Graph, path: Path, model: PromptableModel, windows: Sequence[str]) -> None:
    try:
        with _silence():
            program = torch.onnx.export(
                graph.module,
                graph.inputs,
                input_names=graph.input_names,
                output_names=graph.output_names,
                dynamic_shapes=graph.sizes,
                opset_version=_OPSET,
                dynamo=True,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ExportError(
            f"{type(model).__name__} can't be turned into the ONNX graph {path.name}: {reason} "
            "(--debug shows where)"
        ) from error
    assert program is not None
    spec = model.input_spec
    takes = {
        "size": spec.size,
        "mask_size": spec.mask_size,
        "fit": spec.fit,
        "prompts": sorted(spec.prompts),
        "feedback": spec.feedback,
    }
    program.model.metadata_props.update({key: json.dumps(takes[key]) for key in INPUT_KEYS})
    program.model.metadata_props[WINDOWS_KEY] = json.dumps(list(windows))
    program.save(str(path), external_data=False)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Hide what torch's exporter says about its own doings."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
