"""A trained model in a form that other programs read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from syncsam_lightning.errors import ExportError

if TYPE_CHECKING:
    from pathlib import Path

    from syncsam_lightning.models import PromptableModel
    from syncsam_lightning.models.promptable import Feedback

Format = Literal["onnx", "torch", "safetensors", "weights"]
_ONLY_FOR = {
    "int8": "onnx",
    "table": "onnx",
    "layout": "weights",
    "results": "safetensors",
    "name": "safetensors",
    "license": "safetensors",
    "push": "safetensors",
}
RECORD = "export.json"
"""What an ONNX export leaves beside the files: what was compared and how it turned out."""


def export(
    format: Format,
    checkpoint: str,
    output: str,
    *,
    network: str | None = None,
    options: dict[str, Any] | None = None,
    sam_checkpoint: str | None = None,
    int8: bool = False,
    table: str | None = None,
    protocol: str = "box",
    max_images: int | None = None,
    layout: str | None = None,
    name: str | None = None,
    results: dict[str, str] | None = None,
    license: str | None = None,
    push: str | None = None,
    private: bool = True,
) -> None:
    """Write a model as ONNX, as a torch program, as a hub folder, or under official names.

    What was written is read back and compared with the model; a wrong file is not left behind.

    Args:
        format: onnx: encoder.onnx and decoder.onnx; torch: encoder.pt2 and decoder.pt2 of
            torch.export; safetensors: a folder in the layout of the Hugging Face hub; weights: one
            .pth file under the names of the official program.
        checkpoint: a checkpoint of `syncsam fit`, weights in any known layout (with network), a
            folder or a hub's repository that safetensors was written to.
        output: folder to write to; with weights, the file.
        network: for bare weights: the model they are of, such as MedSAM or package.module.Class.
        options: arguments of the network, such as --options.image_size 256.
        sam_checkpoint: SAM's frozen weights: auto, none or a file; by default as in training.
        int8: onnx: also write copies with 8-bit matrix products to the folder int8.
        table: onnx: a prepared table on whose test split the mean DSC of model, ONNX and int8 is
            measured.
        protocol: how the images of the table are prompted.
        max_images: of the table, the first so many; by default all.
        layout: weights: whose names; official by default, or one that the model knows.
        name: safetensors: title of the model card; by default that of the output folder.
        results: safetensors: folders of `syncsam test` for the card, as --results.NAME FOLDER.
        license: safetensors: identifier of the weights' licence, such as apache-2.0.
        push: safetensors: also send the folder to this repository, OWNER/NAME.
        private: whether a repository that push makes is private.

    Raises:
        ExportError: options exclude each other, the model can't be exported so, or what was written
            does not give the model's answers.
        WeightsError: the checkpoint can't be loaded.
        HubError: the hub refuses the model.
        MissingPackageError: a package of the extras `export` or `hub` is not installed.
    """
    given = {
        "int8": int8,
        "table": table,
        "layout": layout,
        "results": results,
        "name": name,
        "license": license,
        "push": push,
    }
    for option, owner in _ONLY_FOR.items():
        if given[option] and format != owner:
            raise ExportError(f"--{option} is for `syncsam export {owner}`, not for {format}")
    if options and network is None:
        raise ExportError("--options are arguments of --network, which is not given")
    # Imported when the command runs: its help must not wait for torch.
    from pathlib import Path

    if format == "onnx":
        from syncsam_lightning.exporting.onnx_files import check_packages

        check_packages()  # before minutes of work
    from syncsam_lightning.prediction import load_trained

    given_model = None if network is None else _build(network, options or {})
    trained = load_trained(checkpoint, given_model, sam_checkpoint=sam_checkpoint)
    model, feedback = trained.model, trained.feedback
    target = Path(output).expanduser()
    if format == "weights":
        _export_weights(model, target, layout or "official")
    elif format == "torch":
        _export_torch(model, target)
    elif format == "onnx":
        _export_onnx(model, target, int8, table, protocol, max_images)
    else:
        card = _card(model, Path(checkpoint), name or target.resolve().name, results, license)
        _export_folder(model, target, feedback, card)
        if push is not None:
            from syncsam_lightning.hub import push_to_hub

            print(f"sent to {push_to_hub(target, push, private=private)}")


def _build(network: str, options: dict[str, Any]) -> PromptableModel:
    import importlib

    from syncsam_lightning.models.settings import ModelSettings

    class_path = network if "." in network else f"syncsam_lightning.models.{network}"
    try:
        importlib.import_module(class_path.rpartition(".")[0])
    except ImportError as error:
        raise ExportError(f"--network {network}: {error}") from error
    return ModelSettings(class_path, options).build("--network")


def _export_weights(model: PromptableModel, target: Path, layout: str) -> None:
    import torch

    from syncsam_lightning.models.weights.checkpoint_file import read_state_dict
    from syncsam_lightning.models.weights.renaming import check_round_trip, rename_weights

    renamed = rename_weights(model, layout)
    with _staged(target.parent) as work:
        written = work / target.name
        state = {key: tensor.contiguous() for key, tensor in renamed.state_dict.items()}
        torch.save(state, written)
        check_round_trip(model, renamed, read_state_dict(written))
        written.replace(target)
    print(f"{renamed.summary()}\nread back bit for bit: {target}")


def _export_torch(model: PromptableModel, target: Path) -> None:
    from syncsam_lightning.exporting import ProgramModel, export_programs

    with _staged(target) as work:
        files = export_programs(model, work)
        _check(ProgramModel(files, model.input_spec), model, "torch.export")
        for file in (files.encoder, files.decoder):
            file.replace(target / file.name)
    print(f"written: {target}")


def _export_onnx(
    model: PromptableModel,
    target: Path,
    int8: bool,
    table: str | None,
    protocol: str,
    max_images: int | None,
) -> None:
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
        files = export_onnx(model, work)
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


def _card(
    model: PromptableModel,
    checkpoint: Path,
    name: str,
    results: dict[str, str] | None,
    license: str | None,
) -> str:
    from pathlib import Path

    from syncsam_lightning.hub import ModelCard, TrainingNotes

    training = TrainingNotes.of(checkpoint) if checkpoint.is_file() else TrainingNotes()
    folders = {title: Path(folder) for title, folder in (results or {}).items()}
    return ModelCard(model, name, training, folders, license).text()


def _export_folder(model: PromptableModel, target: Path, feedback: Feedback, card: str) -> None:
    from syncsam_lightning.hub import read_folder, write_folder

    write_folder(model, target, feedback=feedback, card=card)
    read_folder(target)  # compares the checksum of all weights
    print(f"read back bit for bit: {target}")
    if model.frozen_keys():
        print("the weights that training left frozen (SAM's) are among them")


@contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """Give a folder inside ``folder`` to write to, and take it away again with what is left."""
    import tempfile
    from pathlib import Path

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"the folder {folder} can't be made: {error}") from error
    with tempfile.TemporaryDirectory(dir=folder, prefix=".exporting-") as work:
        yield Path(work)
