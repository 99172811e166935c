"""What is fuzzed: each reader as a function of bytes that may only refuse them in our own words."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
from syncsam_datamodules.imed361m.index import DataSet
from syncsam_datamodules.imed361m.labels import SparseLabels
from syncsam_datamodules.imed361m.pseudo import pseudo_instances
from syncsam_datamodules.imed361m.rules import ChannelNames, Rules
from syncsam_datamodules.samed2d.index import Classes, read_index

from syncsam_lightning.cli.checkpoint_config import checkpoint_config
from syncsam_lightning.cli.given import GivenSettings
from syncsam_lightning.cli.newest_checkpoint import newest_checkpoint
from syncsam_lightning.data.codec import CorruptPixelsError, decode_image, decode_mask
from syncsam_lightning.data.readers import read_grey, read_image, read_labels, read_mask
from syncsam_lightning.data.sources import Entry, open_source
from syncsam_lightning.evaluation.comparison.results import read_runs
from syncsam_lightning.evaluation.examples import read_examples
from syncsam_lightning.evaluation.prompt_file import RecordedPrompts
from syncsam_lightning.models.weights.checkpoint_file import read_state_dict
from syncsam_lightning.volumes.stored import read_stored
from tests.fuzz import folder_seeds, folder_targets, seeds, volume_seeds, volume_targets
from tests.fuzz.target import Target, folder, refused, written

MAX_ENTRIES = 1000
LABEL_NAME = "x.(3, 8, 9, 1).npz"


class OneFile:
    """A release that is one file in memory; see :class:`syncsam_lightning.data.sources.Source`."""

    name = "release"

    def __init__(self, data: bytes) -> None:
        self.data = data

    def where(self, name: str) -> str:
        return f"release/{name}"

    def open(self, entry: Entry) -> io.BytesIO:
        return io.BytesIO(self.data)


def samed2d_index(data: bytes) -> None:
    """The index of SA-Med2D-20M: image to masks."""

    def read() -> None:
        for image, masks in read_index(io.BytesIO(data), "index.json"):
            assert isinstance(image, str)
            assert all(isinstance(mask, str) for mask in masks)

    refused(read)


def samed2d_classes(data: bytes) -> None:
    """The class names of SA-Med2D-20M."""
    refused(lambda: Classes.read(data, "classes.json"))


def imed_index(data: bytes) -> None:
    """``dataset.json`` of IMed-361M."""

    def read() -> None:
        data_set = DataSet.read(OneFile(data), Entry("BTCV/dataset.json", len(data)))
        Rules().channel_names(data_set.name, data_set.labels)
        for number, _ in enumerate(data_set.listed()):
            if number > MAX_ENTRIES:
                break

    refused(read)


def npz(data: bytes) -> None:
    """Sparse labels of IMed-361M."""

    def read() -> None:
        labels = SparseLabels.load(data, LABEL_NAME)
        names = ChannelNames({0: "liver", 1: "spleen"})
        for mask in labels.masks(names, LABEL_NAME):
            assert mask.mask().shape == (8, 9)  # type: ignore[operator]

    refused(read)


def npy(data: bytes) -> None:
    """Pseudo-instances of IMed-361M."""

    def read() -> None:
        for mask in pseudo_instances(data, "x.npy"):
            assert mask.mask().any()  # type: ignore[operator]

    refused(read)


def image(data: bytes) -> None:
    """Image files: PNG, JPEG, TIFF, BMP."""

    def read() -> None:
        pixels = read_image("x.png", data)
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] in (1, 3)

    refused(read)


def mask(data: bytes) -> None:
    """Mask files: the same formats, read as masks, label maps and grey."""

    def read() -> None:
        assert read_mask("x.png", data).dtype == bool
        assert read_labels("x.png", data).ndim == 2

    refused(read)
    refused(lambda: read_grey("x.png", data))


def zip_archive(data: bytes) -> None:
    """A release as a zip archive."""

    def read() -> None:
        source = open_source(written("release.zip", data))
        for number, entry in enumerate(source.entries()):
            if number > MAX_ENTRIES:
                break
            if isinstance(entry, Entry):
                assert not entry.name.startswith("/")
                assert ".." not in entry.name.split("/")
                refused(lambda entry=entry: source.read(entry))
                refused(lambda entry=entry: streamed(source, entry))

    refused(read)


def streamed(source, entry) -> None:
    """Read a file of a release from start to end."""
    with source.open(entry) as file:
        while file.read(1 << 16):
            pass


def nifti(data: bytes) -> None:
    """NIfTI volumes."""

    def read() -> None:
        volume = read_stored("x.nii", data).oriented("RAS")
        assert volume.voxels.ndim == 3
        assert np.isfinite(volume.affine).all()

    refused(read)


def prompt_file(data: bytes) -> None:
    """Recorded prompts."""

    def read() -> None:
        recorded = RecordedPrompts(written("prompts.parquet", data))
        batch, protocol, spec = seeds.prompted()
        recorded.rounds(batch, protocol, spec)

    refused(read)


def examples(data: bytes) -> None:
    """Examples of a test, for the gallery."""
    refused(lambda: read_examples(written("examples.parquet", data)))


def scores(data: bytes) -> None:
    """Scores of a test, for a comparison."""
    written("result/scores.parquet", data)
    refused(lambda: read_runs([str(folder() / "result")]))


def config(data: bytes) -> None:
    """A config file."""

    def read() -> None:
        given = GivenSettings(["fit", "--config", str(written("x.yaml", data))])
        given.keys()
        given.value("data.batch_size")
        given.class_name("model.network")

    refused(read)


def checkpoint(data: bytes) -> None:
    """A checkpoint, as weights, as a config and as the newest of a folder."""
    path = written("checkpoints/x.ckpt", data)
    refused(lambda: read_state_dict(path))
    refused(lambda: checkpoint_config(path))
    refused(lambda: newest_checkpoint(path.parent))


def codec(data: bytes) -> None:
    """Pixels of a table's row."""
    for decode, shape in ((decode_image, (8, 9, 3)), (decode_mask, (8, 9))):
        with suppress(CorruptPixelsError):
            assert decode(data, shape).shape == shape


TARGETS: dict[str, Target] = {
    "samed2d index (JSON)": Target(samed2d_index, seeds.samed2d_indexes),
    "samed2d classes (JSON)": Target(samed2d_classes, seeds.samed2d_classes),
    "imed361m index (JSON)": Target(imed_index, seeds.imed_indexes),
    "labels (npz)": Target(npz, seeds.npz_files),
    "pseudo-instances (npy)": Target(npy, seeds.npy_files),
    "images": Target(image, seeds.image_files),
    "masks": Target(mask, seeds.image_files),
    "archives (zip)": Target(zip_archive, seeds.zip_files),
    "volumes (NIfTI)": Target(nifti, seeds.nifti_files),
    "prompts (Parquet)": Target(prompt_file, seeds.prompt_files),
    "examples (Parquet)": Target(examples, seeds.example_files),
    "scores (Parquet)": Target(scores, seeds.score_files),
    "configs (YAML)": Target(config, seeds.configs),
    "checkpoints": Target(checkpoint, seeds.checkpoints),
    "pixels of a row (zstd)": Target(codec, seeds.frames),
    "files of a table (Lance)": Target(folder_targets.table, folder_seeds.table_files),
    "images to predict (DICOM)": Target(folder_targets.dicom, folder_seeds.dicom_files),
    "series to predict (DICOM)": Target(folder_targets.dicom_series, folder_seeds.dicom_files),
    "volumes to predict (NIfTI)": Target(
        folder_targets.predicted_nifti, folder_seeds.predicted_volumes
    ),
    "volumes to predict (NRRD, MetaImage)": Target(
        volume_targets.itk_volume, volume_seeds.itk_files
    ),
    "masks of a volume (DICOM SEG)": Target(volume_targets.dicom_seg, volume_seeds.seg_files),
    "prompts to predict (JSON)": Target(folder_targets.prompts_json, folder_seeds.prompt_lists),
    "prompts to predict (CSV)": Target(folder_targets.prompts_csv, folder_seeds.prompt_tables),
    "model's config (JSON)": Target(folder_targets.model_config, folder_seeds.model_configs),
    "model's weights (safetensors)": Target(
        folder_targets.model_weights, folder_seeds.model_weights
    ),
    "zero-shot release (PNG, TIFF)": Target(
        folder_targets.zero_shot_release, folder_seeds.release_files
    ),
    "mask folder (PNG, TIFF, NIfTI)": Target(
        folder_targets.mask_folder, folder_seeds.release_files
    ),
    "COCO file (JSON)": Target(folder_targets.coco_file, folder_seeds.coco_files),
}
