"""What is fuzzed of a user's own files: series, volumes, prompts, models, tables and releases."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np
from syncsam_datamodules.ebhi import EBHI
from syncsam_datamodules.mask_folder import MaskFolder

from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.readers import resolve_crop, resolve_image, resolve_mask
from syncsam_lightning.data.table import Table
from syncsam_lightning.hub import load_pretrained
from syncsam_lightning.hub.folder import CONFIG, WEIGHTS
from syncsam_lightning.prediction.inputs import find_inputs
from syncsam_lightning.prediction.prompt_list import read_prompts
from syncsam_lightning.records import RawSample, Skipped
from syncsam_lightning.volumes import Window, coarsest_plane, stack_of
from syncsam_lightning.volumes.reading import read_volume
from tests.fuzz import folder_seeds as seeds
from tests.fuzz.target import folder, refused, written


def look_at(path: Path) -> None:
    """Read a volume as prediction does, and make its slices grey."""
    volume = read_volume(path)
    assert volume.voxels.shape[3:] in ((), (3,))
    assert np.isfinite(volume.affine).all()
    stack = stack_of(volume, coarsest_plane(volume))
    window = Window().fitted(stack)
    for pixels in stack[:4]:
        assert window.grey(pixels).dtype == np.uint8


def dicom(data: bytes) -> None:
    """A DICOM file of one image."""
    path = written("slice.dcm", data)
    refused(lambda: look_at(path))
    refused(lambda: find_inputs([path]))


def dicom_series(data: bytes) -> None:
    """A DICOM file in a series of which the others are sound."""
    for number in range(seeds.SERIES):
        content = data if number == 1 else _sound_slice(number)
        path = written(f"series/{number}.dcm", content)
    refused(lambda: look_at(path.parent))
    refused(lambda: find_inputs([path.parent]))


@cache
def _sound_slice(number: int) -> bytes:
    return seeds.slice_file(number)


def predicted_nifti(data: bytes) -> None:
    """A NIfTI volume to be segmented; the first byte says whether its name ends in ``.gz``."""
    refused(lambda: look_at(written("x.nii.gz" if data[:1] == b"\1" else "x.nii", data[1:])))


def prompts_json(data: bytes) -> None:
    """A list of prompts in JSON."""
    refused(lambda: read_prompts(written("prompts.json", data)))


def prompts_csv(data: bytes) -> None:
    """A list of prompts in CSV."""
    refused(lambda: read_prompts(written("prompts.csv", data)))


def model_config(data: bytes) -> None:
    """``config.json`` of a model's folder."""
    _model({**seeds.model_folder(), CONFIG: data})


def model_weights(data: bytes) -> None:
    """``model.safetensors`` of a model's folder."""
    _model({**seeds.model_folder(), WEIGHTS: data})


def _model(files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = written(f"model/{name}", content)
    refused(lambda: load_pretrained(path.parent))


def table(data: bytes) -> None:
    """A file of a table, after a byte that says which; the others are sound."""
    place = folder() / "t.lance"
    shutil.rmtree(place, ignore_errors=True)
    files = dict(seeds.table_folder())
    if data:
        files[list(files)[data[0] % len(files)]] = data[1:]
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def read() -> None:
        opened = Table(place)
        settings, count = opened.settings, len(opened)
        assert isinstance(settings, dict)
        opened.offsets("train")
        for number in range(min(count, 8)):
            refused(lambda number=number: opened.read([number]))

    refused(read)


def zero_shot_release(data: bytes) -> None:
    """A release of images and masks for testing only, as EBHI's plugin reads it."""
    _release(data, EBHI, {"images": "Polyp/image", "masks": "Polyp/label"})


def mask_folder(data: bytes) -> None:
    """Images and masks of one's own, as MaskFolder reads them."""
    _release(data, MaskFolder, {"images": "images", "masks": "masks"})


def coco_file(data: bytes) -> None:
    """A COCO file beside its image, as MaskFolder reads it."""
    root = folder() / "coco"
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "images" / "a.png").write_bytes(seeds.release()["images/a.png"])
    (root / "annotations.json").write_bytes(data)

    def read() -> None:
        for sample in MaskFolder().records(root):
            assert isinstance(sample, Skipped | RawSample)
            for mask in sample.masks if isinstance(sample, RawSample) else ():
                refused(lambda mask=mask: resolve_crop(mask.mask, mask.path))

    refused(read)


def _release(data: bytes, plugin: type[PromptableDataModule], names: dict[str, str]) -> None:
    root = folder() / plugin.__name__
    files = dict(seeds.release())
    if data:
        files[seeds.PLACES[data[0] % len(files)]] = data[1:]
    for place, content in files.items():
        kind, _, name = place.partition("/")
        path = root / names[kind] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def read() -> None:
        for sample in plugin(str(root)).records(root):
            assert isinstance(sample, Skipped | RawSample)
            if isinstance(sample, RawSample):
                refused(lambda sample=sample: _look_at_sample(sample))

    refused(read)


def _look_at_sample(sample: RawSample) -> None:
    assert resolve_image(sample.image, sample.path).dtype == np.uint8
    for mask in sample.masks:
        refused(lambda mask=mask: resolve_mask(mask.mask, mask.path))
