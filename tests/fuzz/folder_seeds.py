"""What fuzzing of folders starts from: one file of a folder, after a byte that says which."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tempfile
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path

import imagecodecs
import nibabel as nib
import numpy as np
import pydicom
import torch
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from torch import Tensor, nn

from syncsam_lightning.data.synthetic import write_synthetic_table
from syncsam_lightning.hub.folder import CONFIG, WEIGHTS, write_folder
from syncsam_lightning.models import ImageFeatures, InputSpec, PromptableModel
from syncsam_lightning.prompts import Prompts
from tests.dicom_files import save_frames
from tests.fuzz.seeds import nested, nifti_files, png_header, saved

SERIES = 3
"""Files of the series that a changed one stands in."""
COLOURS = {
    "SamplesPerPixel": 3,
    "PhotometricInterpretation": "RGB",
    "PlanarConfiguration": 0,
    **{"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
    "PixelData": bytes(range(60)),
}
"""Attributes of a slice in colour."""


def slice_file(number: int = 1, **tags: object) -> bytes:
    """Return a CT slice of 4 rows and 5 columns, one of a series 2.5 mm apart.

    Args:
        number: of the slice.
        tags: attributes that differ from those of a sound slice.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, f"1.2.3.{number}"
    image.SeriesInstanceUID, image.Modality, image.SeriesDescription = "1.2.4", "CT", "abdomen"
    image.ImagePositionPatient = [-10.0, -20.0, 2.5 * number]
    image.ImageOrientationPatient, image.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.8, 0.7]
    image.Rows, image.Columns = 4, 5
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 0
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 1, -1024, "HU"
    image.PixelData = np.arange(20, dtype=np.uint16).tobytes()
    for name, value in tags.items():
        setattr(image, name, value)
    return saved(lambda path: image.save_as(path, enforce_file_format=True))


def greedy_slice() -> bytes:
    """Return a slice whose Modality says that it has 4 GiB."""
    greedy = bytearray(slice_file())
    at = greedy.index(b"\x08\x00\x60\x00CS")
    greedy[at + 4 : at + 12] = b"UN\0\0\xf0\xff\xff\xff"
    return bytes(greedy)


def deflated_slice(**tags: object) -> bytes:
    """Return a slice all of which is deflated, and not only its pixels."""
    whole = pydicom.dcmread(io.BytesIO(slice_file(**tags)))
    whole.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return saved(whole.save_as)


def lossless_slice(rows: int = 4, columns: int = 5, *, is_jpeg_ls: bool = False) -> bytes:
    """Return a slice compressed without loss, whose JPEG image declares so many pixels."""
    whole = pydicom.dcmread(io.BytesIO(slice_file()))
    pixels = whole.pixel_array
    frame = bytearray(
        imagecodecs.jpegls_encode(pixels)
        if is_jpeg_ls
        else imagecodecs.jpeg8_encode(pixels, lossless=True, bitspersample=16)
    )
    at = frame.index(b"\xff\xf7" if is_jpeg_ls else b"\xff\xc3")
    frame[at + 5 : at + 9] = struct.pack(">HH", rows, columns)
    whole.PixelData = encapsulate([bytes(frame)])
    whole["PixelData"].is_undefined_length = True
    whole.file_meta.TransferSyntaxUID = JPEGLSLossless if is_jpeg_ls else JPEGLosslessSV1
    return saved(whole.save_as)


def enhanced_file(**tags: object) -> bytes:
    """Return an enhanced CT of 3 frames of 4 rows and 5 columns.

    Args:
        tags: attributes that differ from those of a sound one.
    """
    voxels, heights = np.arange(60).reshape(4, 5, 3), (2.5, 0.0, 5.0)
    return saved(lambda path: save_frames(path, voxels, heights, **tags))


def dicom_files() -> list[bytes]:
    """Slices (plain, compressed, without a place or pixels, in colour) and enhanced images."""
    whole = slice_file()
    compressed = pydicom.dcmread(io.BytesIO(whole))
    compressed.compress(RLELossless)
    return [
        whole,
        saved(compressed.save_as),
        greedy_slice(),
        slice_file(Rows=65535, Columns=65535),
        slice_file(Rows=0, Columns=0),
        slice_file(PixelData=b""),
        slice_file(NumberOfFrames=3),
        slice_file(SamplesPerPixel=3),
        slice_file(**COLOURS),
        slice_file(**COLOURS | {"NumberOfFrames": 2, "PixelData": bytes(120)}),
        slice_file(**COLOURS | {"PhotometricInterpretation": "YBR_FULL_422"}),
        slice_file(ImagePositionPatient=None, ImageOrientationPatient=None),
        slice_file(ImageOrientationPatient=[0, 0, 0, 0, 0, 0]),
        slice_file(PixelSpacing=[0, 0]),
        slice_file(RescaleSlope=0),
        slice_file(BitsAllocated=7),
        slice_file(PhotometricInterpretation="MONOCHROME1"),
        slice_file(PhotometricInterpretation="PALETTE COLOR"),
        slice_file(ImageType=["ORIGINAL", "PRIMARY", "MOSAIC"]),
        slice_file(SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4"),
        slice_file(PixelPaddingValue=None, PixelPaddingRangeLimit=None),
        deflated_slice(),
        lossless_slice(),
        lossless_slice(is_jpeg_ls=True),
        lossless_slice(rows=30000, columns=30000, is_jpeg_ls=True),
        enhanced_file(),
        enhanced_file(NumberOfFrames=1),
        enhanced_file(NumberOfFrames=200_000_000),
        enhanced_file(SharedFunctionalGroupsSequence=None),
    ]


def predicted_volumes() -> list[bytes]:
    """NIfTI volumes of the sizes that prediction reads, also some that declare more than is there.

    The first byte says whether the name ends in ``.gz``.
    """
    return [bytes([data[:2] == b"\x1f\x8b"]) + data for data in nifti_files()]


def prompt_lists() -> list[bytes]:
    """JSON files of prompts."""
    entry = {"image": "a.nii", "label": "liver", "object": 2, "slice": 3, "box": [1, 2, 30.5, 40]}
    clicks = {"image": "b.png", "points": [[1, 2], [3.5, 4]], "point_labels": [1, 0]}
    return [
        json.dumps([entry, clicks]).encode(),
        b"[]",
        b'{"image": "a"}',
        b'[{"image": "a", "box": [1, 2, 3, NaN]}]',
        b'[{"image": "a", "box": [1, 2, 3, ' + b"9" * 400 + b"]}]",
        b'[{"image": "a", "object": ' + b"1" * 5000 + b', "box": [1, 2, 3, 4]}]',
        b'[{"image": "a", "slice": 1e400, "box": [1, 2, 3, 4]}]',
        b'[{"image": "\\ud800", "points": [[1, 1]], "point_labels": []}]',
        b"\xff\xfe[\0]\0",
        nested("[", "]"),
        nested('{"a":'),
    ]


def prompt_tables() -> list[bytes]:
    """CSV files of prompts."""
    return [
        b"image,label,object,slice,x0,y0,x1,y1,points\na.nii,liver,2,3,1,2,30,40,\n"
        b"b.png,,,,,,,,1 2 1; 3 4 0\n",
        b"image,points\na.png,1 2; 3 4 0\n",
        b'image,points\n"a.png,1 2\n',
        b"image,points\na\0.png,1 2\n",
        b"image,x0,y0,x1,y1\na,1e999,nan,-inf,4\n",
        b"image,object,x0,y0,x1,y1\na," + b"1" * 5000 + b",1,2,3,4\n",
        b"image,image\na,b\n",
        b"\xef\xbb\xbfimage,points\na,1 2\n",
        b"image,points\na," + b"1 2;" * 5000 + b"1 2\n",
    ]


class OneWeight(PromptableModel):
    """The smallest model that there can be, so that fuzzing reads files and does not build layers.

    Args:
        width: of its one weight, 1 to 64.
    """

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        if not 1 <= width <= 64:
            raise ValueError(f"width must be 1 to 64, got {width}")
        self.input_spec = InputSpec(16, frozenset({"boxes"}), 4)
        self.weight = nn.Parameter(torch.arange(float(width)))

    def encode(self, images: Tensor, sizes: Tensor | None = None) -> ImageFeatures:
        """See :meth:`PromptableModel.encode`."""
        raise NotImplementedError

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        """See :meth:`PromptableModel.decode`."""
        raise NotImplementedError


@cache
def model_folder() -> dict[str, bytes]:
    """Return the files of a model, as ``syncsam export --to safetensors`` writes them."""
    with tempfile.TemporaryDirectory() as folder:
        write_folder(OneWeight(), Path(folder))
        return {name: Path(folder, name).read_bytes() for name in (CONFIG, WEIGHTS)}


def model_configs() -> list[bytes]:
    """``config.json``, also such as name what is no model, and nested ones."""
    whole = json.loads(model_folder()[CONFIG])
    models: list[object] = [
        {"class_path": "os.system", "init_args": {"command": "mkdir /nowhere"}},
        {"class_path": "syncsam_lightning.models..", "init_args": {}},
        {"class_path": "syncsam_lightning.models.SyncSAM", "init_args": {"image_size": -64}},
        {"class_path": "syncsam_lightning.models.SyncSAM", "init_args": {"cnn": []}},
        {"class_path": whole["model"]["class_path"], "init_args": {"width": [], "x": 1}},
        {"class_path": whole["model"]["class_path"], "init_args": [1]},
        {"class_path": "\ud800.\0"},
    ]
    changed = [{**whole, "model": model} for model in models]
    changed += [{**whole, "feedback": {}}, {**whole, "format": [1]}, {**whole, "weights_sha256": 1}]
    return [
        *(json.dumps(config).encode() for config in (whole, *changed)),
        b'{"format": 1, "model": ' + b"1" * 5000 + b"}",
        nested("[", "]"),
        nested('{"a":'),
    ]


def model_weights() -> list[bytes]:
    """``model.safetensors``, also with headers that declare more than there is."""
    whole = model_folder()[WEIGHTS]

    def headed(header: bytes) -> bytes:
        return len(header).to_bytes(8, "little") + header

    return [
        whole,
        headed(b'{"weight":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,16]}}'),
        headed(b'{"weight":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'),
        (1 << 62).to_bytes(8, "little") + whole[8:],
        headed(nested("[", "]")),
    ]


@cache
def table_folder() -> dict[str, bytes]:
    """Return the files of a table of four rows, by their names inside it."""
    with tempfile.TemporaryDirectory() as folder:
        table = write_synthetic_table(Path(folder, "t.lance"), num_images=4, side=16)
        files = sorted(path for path in table.rglob("*") if path.is_file())
        return {str(path.relative_to(table)): path.read_bytes() for path in files}


def numbered(files: Iterable[bytes]) -> list[bytes]:
    """Return files after bytes that say which one of a folder each is."""
    return [bytes([number]) + content for number, content in enumerate(files)]


def table_files() -> list[bytes]:
    """Each file of a table, after its number."""
    return numbered(table_folder().values())


PLACES = ("images/a.png", "masks/a.png", "images/a.tif", "masks/a.tif", "images/b.jpg")
PLACES += ("masks/b.bmp", "images/v.nii.gz", "masks/v.nii.gz")
"""Files of a release of images and masks, each beside a sound one of the other kind."""


@cache
def release() -> dict[str, bytes]:
    """Return sound files of a release by name, in the order of :data:`PLACES`."""
    drawn = np.zeros((24, 36), np.uint8)
    drawn[2:20, 3:30] = 255
    picture = Image.fromarray(drawn)
    voxels = np.zeros((5, 6, 3), np.int16)
    voxels[1:4, 1:5, 1] = 1
    volume = gzip.compress(nib.Nifti1Image(voxels, np.diag([1, 1, 3, 1])).to_bytes())
    kinds = {".png": "PNG", ".tif": "TIFF", ".jpg": "JPEG", ".bmp": "BMP"}
    files = {}
    for name in PLACES:
        kind = kinds.get(Path(name).suffix)
        files[name] = volume if kind is None else saved(partial(picture.save, format=kind))
    return files


def release_files() -> list[bytes]:
    """Files of a release, after the number of their place: sound, of another kind, and bombs."""
    sound = numbered(release().values())
    bomb = png_header(100_000, 100_000)
    colours = saved(lambda path: Image.new("RGB", (36, 24), (1, 2, 3)).save(path, "PNG"))
    pictures = [bomb, colours, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
    hostile = [nifti_files() if ".nii" in place else pictures for place in PLACES]
    return sound + [bytes([number]) + one for number, files in enumerate(hostile) for one in files]


def coco_files() -> list[bytes]:
    """COCO files of one image: each form of outline, and hostile sizes and runs."""
    polygon, size = [3, 2, 30, 2, 30.5, 20, 3, 20], [24, 36]
    outlines: list[object] = [
        [polygon],
        [polygon, [1, 1, 5, 1, 5, 9]],
        {"size": size, "counts": [50, 700, 114]},
        {"size": size, "counts": "b1l0;OO0oh0"},
        {"size": size, "counts": [2**31 - 1] * 9},
        {"size": size, "counts": [-1, 865]},
        {"size": [2**31, 2**31], "counts": "o" * 50},
        {"size": [1 << 40, 1], "counts": [1 << 40]},
        {"size": size, "counts": "PPPPPPPP2"},
        {"size": size, "counts": "\udc80\0"},
        [[1e308, -1e308] * 3],
        [[2e9, 0, 0, 2e9, -2e9, 5]],
        [[1, 2, 3, 4]],
        [[[1, 2], [3, 4], [5, 6]]],
        None,
    ]
    images = [{"id": 1, "file_name": "a.png", "height": 24, "width": 36}]
    categories = [{"id": 1, "name": "a"}]
    files = []
    for outline in outlines:
        one = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": outline}
        content = {"images": images, "categories": categories, "annotations": [one]}
        files.append(json.dumps(content).encode())
    bomb = json.dumps({"images": [images[0] | {"width": 10**9}]})[:-1]
    files.append(bomb.encode() + b', "annotations": [], "categories": []}')
    return [*files, b'{"images": [], "annotations": [], "categories": []}', b"[" * 99_999]
