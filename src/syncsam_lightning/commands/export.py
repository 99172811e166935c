"""A trained model in a form that other programs read."""

from __future__ import annotations

from typing import Any, Literal

from syncsam_lightning.errors import ExportError

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
            file, .pth or .safetensors, under the names of the official program.
        checkpoint: a checkpoint of `syncsam fit`, weights in any known layout, a folder or a hub's
            repository that safetensors was written to.
        output: folder to write to; with weights, the file.
        network: for weights that several models share or none has: the model they are of, such as
            MedSAM or package.module.Class.
        options: arguments of the network, given or recognised, such as --options.image_size 256; by
            default as the weights show.
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
        OutputFolderError: nothing can be written to output.
        ModelSettingsError: there is no such network, or it refuses its options.
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
    # Imported when the command runs: its help must not wait for torch.
    from pathlib import Path

    if format == "onnx":
        from syncsam_lightning.exporting.onnx_files import check_packages

        check_packages()  # before minutes of work
    from syncsam_lightning.commands.export_formats import (
        card_of,
        export_folder,
        export_onnx_files,
        export_torch,
        export_weights,
    )
    from syncsam_lightning.commands.named_network import named_network
    from syncsam_lightning.commands.output_folder import check_output_folder
    from syncsam_lightning.hub import find_checkpoint
    from syncsam_lightning.prediction import load_trained
    from syncsam_lightning.prediction.trained_window import trained_windows

    if push is not None:
        from syncsam_lightning.hub import check_repository

        check_repository(push)  # before anything is written
    target = Path(output).expanduser()
    check_output_folder(target.parent if format == "weights" else target, "OUTPUT")
    given_model = named_network(network, options, checkpoint)
    place = find_checkpoint(checkpoint)
    model = load_trained(place, given_model, sam_checkpoint=sam_checkpoint)
    if format == "weights":
        export_weights(model, target, layout or "official")
    elif format == "torch":
        export_torch(model, target)
    elif format == "onnx":
        export_onnx_files(model, target, int8, table, protocol, max_images, trained_windows(place))
    else:
        card = card_of(model, Path(checkpoint), name or target.resolve().name, results, license)
        export_folder(model, target, card, trained_windows(place))
        if push is not None:
            from syncsam_lightning.hub import push_to_hub

            print(f"sent to {push_to_hub(target, push, private=private)}")
