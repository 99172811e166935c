"""Masks for images, folders and volumes as they lie on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from syncsam_lightning.errors import SyncSAMError

_SHOWN = 10  # objects and skipped inputs that are told at once; all are in the lists


class PredictOptionError(SyncSAMError):
    """Options of ``syncsam predict`` that can't be understood or exclude each other."""


def predict_files(
    paths: Sequence[str],
    *,
    ckpt_path: str,
    prompts: str | None = None,
    box: str | None = None,
    points: str | None = None,
    label: str = "object",
    slice: int | None = None,
    output: str = "predictions",
    plane: Literal["axial", "coronal", "sagittal"] | None = None,
    window: str | None = None,
    propagate: bool = True,
    min_pixels: int = 4,
    max_area_change: float = 4.0,
    min_score: float = 0.5,
    min_overlap: float = 0.5,
    volume_format: Literal["auto", "nifti", "dicom_seg"] = "auto",
    resample: bool = False,
    network: str | None = None,
    options: dict[str, Any] | None = None,
    sam_checkpoint: str | None = None,
    device: str = "auto",
) -> None:
    """Segment images and volumes by prompts and write their masks.

    Args:
        paths: images (PNG, JPEG, TIFF, BMP), volumes (NIfTI, NRRD, MetaImage), DICOM files, and
            folders of these; a folder's DICOM files are taken together as series.
        ckpt_path: a checkpoint of `syncsam fit`, weights in a known layout (SyncSAM's, SAM's,
            MedSAM's, SAM-Med2D's, ...), or a folder or repository of `syncsam export`.
        prompts: a JSON or CSV file of prompts; see docs/predict.md.
        box: instead of a file, one object on every image: x0,y0,x1,y1 in pixels.
        points: the same with points: "x,y,1; x,y,0" (1 object, 0 background).
        label: what the object of box or points is.
        slice: of a volume, on which box or points lie.
        output: folder for masks, predictions.csv and skipped.jsonl.
        plane: in which volumes are cut into slices; by default that of the coarsest resolution.
        window: what becomes black and white in volumes: percentiles, minmax or minmax_slice; for CT
            soft_tissue, lung, bone, brain or liver; or WIDTH,LEVEL. By default that of training, if
            the checkpoint or exported folder says which, else percentiles.
        propagate: carry an object from its prompted slices on to the others; false: segment
            prompted slices only.
        min_pixels: an object ends before a slice where its mask is smaller.
        max_area_change: or changes its area more than so many times from slice to slice.
        min_score: or has a lower stability score.
        min_overlap: or lies elsewhere: less of the smaller mask lies in the one beside it.
        volume_format: of the masks of volumes; auto: DICOM SEG for DICOM, else NIfTI.
        resample: write NIfTI masks of a volume whose axes are not at right angles (a tilted gantry)
            on a grid that all programs read.
        network: for weights that several models share or none has: the model they are of, such as
            MedSAM or package.module.Class.
        options: arguments of the network, given or recognised, such as --options.image_size 256; by
            default as the weights show.
        sam_checkpoint: SAM's weights: auto, none or a file; by default as in training.
        device: cpu, cuda, cuda:1, ...; auto takes a GPU if there is one.

    Raises:
        PredictOptionError: there is no prompt, or options exclude each other.
        OutputFolderError: masks can't be written to output.
        SyncSAMError: nothing could be segmented; the message says why.
    """
    # Imported when the command runs: its help must not wait for torch.
    from pathlib import Path

    from tqdm import tqdm

    from syncsam_lightning.commands.named_network import named_network
    from syncsam_lightning.commands.output_folder import check_output_folder
    from syncsam_lightning.hub import find_checkpoint
    from syncsam_lightning.prediction import Predictor, StopRule, VolumePredictor
    from syncsam_lightning.prediction.assignment import assign_prompts
    from syncsam_lightning.prediction.file_predictor import LIST, SKIPPED, FilePredictor
    from syncsam_lightning.prediction.inputs import find_inputs, without_masks
    from syncsam_lightning.prediction.prompt_list import prompt_of_options, read_prompts
    from syncsam_lightning.prediction.trained_window import volume_window
    from syncsam_lightning.volumes import Window, parse_window

    try:
        stop = StopRule(min_pixels, max_area_change, min_score, min_overlap)
    except ValueError as error:
        raise PredictOptionError(str(error)) from error
    if window is not None:
        parse_window(window)  # refuses a wrong one before the model is built
    if prompts is not None and (box is not None or points is not None or slice is not None):
        raise PredictOptionError("prompts is a file of all prompts: leave box, points, slice out")
    if prompts is None and box is None and points is None:
        raise PredictOptionError(
            "there is no prompt: give --prompts FILE, --box x0,y0,x1,y1 or --points 'x,y,1'"
        )
    listed = (
        [prompt_of_options(box, points, label, slice)]
        if prompts is None
        else read_prompts(Path(prompts))
    )
    target = Path(output)
    check_output_folder(target, "--output")
    ignored = [target, target / LIST, target / SKIPPED]
    ignored += [] if prompts is None else [Path(prompts)]
    inputs, unknown = find_inputs([Path(path) for path in paths], ignored)
    inputs, masks = without_masks(inputs, target)
    unknown += masks
    base = None if prompts is None else Path(prompts).parent
    pairs, without = assign_prompts(inputs, listed, base)
    model = named_network(network, options, ckpt_path)
    place = find_checkpoint(ckpt_path)
    predictor = Predictor.from_checkpoint(
        place, model, sam_checkpoint=sam_checkpoint, device=device
    )
    has_volumes = any(one.kind != "image" for one, _ in pairs)
    shown = volume_window(window, place) if has_volumes else Window()
    volumes = VolumePredictor(predictor, window=shown, plane=plane, stop=stop, propagate=propagate)
    runner = FilePredictor(
        predictor, volumes, target, volume_format=volume_format, resample=resample
    )
    # disable=None: no bar where nobody watches.
    with tqdm(pairs, unit="input", disable=None) as bar:
        outcome = runner.run(bar, on_slice=lambda number: bar.set_postfix(slice=number))
    outcome.skipped[:0] = [*unknown, *without]
    outcome.write(target)
    for entry in outcome.skipped[:_SHOWN]:
        print(f"skipped {entry.path}: {entry.reason}")
    if outcome.skipped:
        print(f"{len(outcome.skipped)} skipped, all listed in {target / SKIPPED}")
    if not outcome.found:
        raise PredictOptionError(f"nothing could be segmented; {target / SKIPPED} says why")
    for found in outcome.found[:_SHOWN]:
        print(found)
    count = len(outcome.found)
    print(
        f"{count} object{'' if count == 1 else 's'} written to {target}, listed in {target / LIST}"
    )
