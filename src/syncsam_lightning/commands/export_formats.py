"""Writing a model in each format of `syncsam export`, and checking what was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from syncsam_lightning.errors import ExportError
from syncsam_lightning.models import PromptableModel
from syncsam_lightning.whole_files import work_folder

RECORD = "export.json"
"""What an ONNX export leaves beside the files: what was compared and how it turned out."""


def export_weights(model: PromptableModel, target: Path, layout: str) -> None:
    """Write weights under official names, and read them back bit for bit."""
    import torch

    from syncsam_lightning.models.weights.checkpoint_file import read_state_dict
    from syncsam_lightning.models.weights.renaming import check_round_trip, rename_weights
    from syncsam_lightning.models.weights.safetensors_file import SUFFIX, write_safetensors

    renamed = rename_weights(model, layout)
    with _staged(target.parent) as work:
        written = work / target.name
        if target.suffix == SUFFIX:
            write_safetensors(renamed.state_dict, written)
        else:
            torch.save(
                {k: tensor.contiguous() for k, tensor in renamed.state_dict.items()}, written
            )
        check_round_trip(model, renamed, read_state_dict(written))
        written.replace(target)
    print(f"{renamed.summary()}\nread back bit for bit: {target}")


def export_torch(model: PromptableModel, target: Path) -> None:
    """Write programs of ``torch.export``, and compare them with the model."""
    from syncsam_lightning.exporting import ProgramModel, export_programs

    with _staged(target) as work:
        files = export_programs(model, work)
        _check(ProgramModel(files, model.input_spec), model, "torch.export")
        for file in (files.encoder, files.decoder):
            file.replace(target / file.name)
    print(f"written: {target}")


def export_onnx_files(
    model: PromptableModel,
    target: Path,
    int8: bool,
    table: str | None,
    protocol: str,
    max_images: int | None,
    windows: Sequence[str],
) -> None:
    """Write ONNX files, compare them with the model, and measure their DSC if asked to."""
    import json

    from syncsam_lightning.evaluation.table_dice import table_dice
    from syncsam_lightning.exporting import (
        OnnxModel,
        export_onnx,
        largest_difference,
        quantise,
    )

    record: dict[str, Any] = {"model": type(model).__name__}
    with _staged(target) as work:
        files = export_onnx(model, work, windows)
        exported = {"ONNX": OnnxModel(work)}
        record["relative_difference"] = _check(exported["ONNX"], model, "ONNX")
        moves = {files.encoder: target, files.decoder: target}
        if int8:
            (work / "int8").mkdir()
            small = quantise(files, work / "int8")
            exported["int8"] = OnnxModel(work / "int8")
            difference = largest_difference(exported["int8"], model)
            record["int8_relative_difference"] = difference.value
            print(f"int8: relative difference {difference}; judge it by the DSC (--table)")
            moves |= {small.encoder: target / "int8", small.decoder: target / "int8"}
        if table is not None:
            scores = {
                which: table_dice(candidate, table, protocol=protocol, max_images=max_images)
                for which, candidate in {"PyTorch": model, **exported}.items()
            }
            whole = scores["PyTorch"]
            print(f"DSC ({protocol}, {whole.masks} masks on {whole.images} images of {table}):")
            for which, score in scores.items():
                print(f"  {which:8}{score.value:.4f}  change {score.value - whole.value:+.4f}")
            record["dice"] = {which: score.value for which, score in scores.items()}
            record |= {"protocol": protocol, "masks": whole.masks, "images": whole.images}
        (work / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        exported.clear()
        for file, folder in {**moves, work / RECORD: target}.items():
            folder.mkdir(exist_ok=True)
            file.replace(folder / file.name)
    print(f"written: {target}")


def _check(exported: PromptableModel, model: PromptableModel, what: str) -> float:
    from syncsam_lightning.exporting import TOLERANCE, largest_difference

    difference = largest_difference(exported, model)
    print(f"{what} beside PyTorch: relative difference {difference}")
    if not difference.value < TOLERANCE:
        raise ExportError(
            f"{what} does not give the answers of {type(model).__name__}: relative difference "
            f"{difference}, allowed {TOLERANCE:.0e}; nothing was written"
        )
    return difference.value


def card_of(
    model: PromptableModel,
    checkpoint: Path,
    name: str,
    results: dict[str, str] | None,
    license: str | None,
) -> str:
    """Return the text of the model card."""
    from syncsam_lightning.hub import ModelCard, TrainingNotes

    file = checkpoint.expanduser()
    training = TrainingNotes.of(file) if file.is_file() else TrainingNotes()
    folders = {title: Path(folder) for title, folder in (results or {}).items()}
    return ModelCard(model, name, training, folders, license).text()


def export_folder(model: PromptableModel, target: Path, card: str, windows: Sequence[str]) -> None:
    """Write a folder in the layout of a hub, and read it back."""
    from syncsam_lightning.hub import read_folder, write_folder

    write_folder(model, target, card=card, windows=windows)
    read_folder(target)  # compares the checksum of all weights
    print(f"read back bit for bit: {target}")
    if model.frozen_keys():
        print("the weights that training left frozen (SAM's) are among them")


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """Give a folder inside ``folder`` to write to, and take it away again with what is left."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"the folder {folder} can't be made: {error}") from error
    with work_folder(folder) as work:
        yield work
