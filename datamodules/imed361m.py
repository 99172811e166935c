"""IMed-361M: a folder of data sets with sparse labels and machine-made pseudo-instances.

Known of the release and left as they are: some sources store their slices turned by 90° or 180°
(image and masks alike).
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import numpy as np
from scipy import ndimage

from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.errors import BrokenInputError, DatasetNotFoundError
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample, Skipped, Split

INDEX = "dataset.json"
SMALLEST_SHARE = 0.0005
"""A pseudo-instance, or a piece of one, that covers less of the image than this is left out."""

_MAX_PIXELS = 1 << 28
_MAX_REGION = (1 << 16) - 1
_PARTS: tuple[tuple[str, Split], ...] = (("training", "train"), ("test", "test"))
# What zipfile and NumPy raise for damaged files (RuntimeError: encrypted, unknown compression).
_UNREADABLE = (
    ValueError,
    KeyError,
    EOFError,
    OSError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
_SQUARE = np.ones((3, 3), dtype=bool)
_SHAPE = re.compile(r"\((\d+(?:\s*,\s*\d+)*)\s*,?\)$")
# ABD_001_100: slice 100 of case ABD_001. In ISIC_0012345 the part before holds no number: it names
# the source, not a patient, so the image is a case of its own.
_SLICE = re.compile(r"(?P<case>.*\d.*)_(?P<slice>\d+)")


class IMed361M(PromptableDataModule):
    """IMed-361M, as released: official training and test parts, validation drawn from training.

    ``root`` is a folder of data sets, or one of them (a folder with ``dataset.json``). Each channel
    of a label is one class; a channel without foreground is a class absent from the slice.

    With ``pseudo_masks`` the release's pseudo-instances are added to training images, labelled
    ``pseudo``, cleaned by the published rule: regions below 0.05 % of the image are dropped, the
    others opened and closed (3x3), and pieces below the same share removed.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        name="IMed-361M",
        description=(
            "6.4 million 2D images of 110 data sets and 14 modalities with masks of 204 targets, "
            "and 273 million machine-made pseudo-instances."
        ),
        homepage="https://huggingface.co/datasets/General-Medical-AI/IMed-361M",
        license="Apache-2.0 for the collection; each source data set keeps its own licence",
        citation="Cheng et al.: Interactive medical image segmentation: a benchmark dataset and "
        "baseline, CVPR 2025",
        modalities=("ct", "mr", "pet", "x_ray", "ultrasound", "endoscopy", "dermoscopy", "fundus"),
        layout=(
            "DATASET/dataset.json        modality, labels, training and test entries",
            "DATASET/image/NAME.png",
            "DATASET/label/x___NAME.(CHANNELS, HEIGHT, WIDTH, 1).npz   scipy CSR, channel c is "
            "labels[c + 1]",
            "DATASET/imask/x___NAME.npy  label map of pseudo-instances, -1 is none (optional)",
        ),
    )

    def __init__(
        self,
        root: str | None = None,
        table: str | None = None,
        *,
        pseudo_masks: bool = False,
        **kwargs: Any,
    ) -> None:
        """Create the datamodule.

        Args:
            root: folder of data sets, or one of them.
            table: the prepared table.
            pseudo_masks: add the release's pseudo-instances to training images.
            kwargs: see :class:`~syncsam_lightning.data.datamodule.PromptableDataModule`.
        """
        super().__init__(root, table, **kwargs)
        self.pseudo_masks = pseudo_masks

    def table_settings(self) -> dict[str, Any]:
        """Return what shapes the table."""
        return super().table_settings() | {"pseudo_masks": self.pseudo_masks}

    def records(self, root: Path) -> Iterator[RawSample | Skipped]:
        """Yield the images of every data set under ``root``, training before test.

        Args:
            root: folder of data sets, or one of them.

        Raises:
            DatasetNotFoundError: no ``dataset.json`` in ``root`` or in a folder of it.
            BrokenInputError: a ``dataset.json`` cannot be read; found before the first image.
        """
        folders = _dataset_folders(root)
        for folder in folders:
            _Index.read(folder)
        for folder in folders:
            index = _Index.read(folder)
            for part, split in _PARTS:
                for entry in index.entries[part]:
                    yield from self._image_records(index, entry, split)

    def _image_records(
        self, index: _Index, entry: Any, split: Split
    ) -> Iterator[RawSample | Skipped]:
        image = _inside(index.folder, entry, "image", ".png")
        if isinstance(image, Skipped):
            yield image
            return
        readers: list[tuple[Callable[[Path], list[NamedMask]], str, str]] = [
            (lambda path: SparseLabels.load(path).masks(index.labels, str(path)), "label", ".npz")
        ]
        if self.pseudo_masks and split == "train" and entry.get("imask"):
            readers.append((pseudo_instances, "imask", ".npy"))
        masks: list[NamedMask] = []
        for read, key, suffix in readers:
            path = _inside(index.folder, entry, key, suffix)
            try:
                masks += [] if isinstance(path, Skipped) else read(path)
            except BrokenInputError as error:
                path = Skipped(error.path, error.reason)
            if isinstance(path, Skipped):
                yield path
        name = _SLICE.fullmatch(image.stem)
        yield RawSample(
            id=f"{index.folder.name}/{image.stem}",
            image=image,
            masks=tuple(masks),
            modality=index.modality,
            source=index.folder.name,
            case=name["case"] if name else image.stem,
            slice=name["slice"] if name else "",
            split=split,
        )


@dataclass(frozen=True, slots=True)
class SparseLabels:
    """The label of one image: a CSR matrix with a row for each channel.

    Args:
        shape: channels, height, width.
        starts: ``(channels + 1,)``; where each channel's pixels start in ``pixels``.
        pixels: foreground pixels, counted along the rows of the image.
    """

    shape: tuple[int, int, int]
    starts: np.ndarray
    pixels: np.ndarray

    @classmethod
    def load(cls, path: Path) -> SparseLabels:
        """Read a ``.npz`` of the release, whose dense shape stands in its name only.

        Nothing is allocated before the headers agree with that shape, and nothing is unpickled.

        Raises:
            BrokenInputError: the file is damaged, or holds anything else.
        """
        try:
            shape = _shape_in_name(path.stem)
            with zipfile.ZipFile(path) as archive:
                return cls._from_archive(archive, shape)
        except _UNREADABLE as error:
            reason = error.args[0] if isinstance(error, KeyError) else error
            raise BrokenInputError(str(path), f"not a sparse label ({reason})") from error

    @classmethod
    def _from_archive(cls, archive: zipfile.ZipFile, shape: tuple[int, int, int]) -> SparseLabels:
        channels, pixels = shape[0], shape[1] * shape[2]
        if _member(archive, "format", (), "SU").item() not in (b"csr", "csr"):
            raise ValueError("its format is not CSR")
        stored = _member(archive, "shape", (2,), "iu").tolist()
        if stored != [channels, pixels]:
            raise ValueError(f"its shape {stored} does not agree with {shape} in its name")
        starts = _member(archive, "indptr", (channels + 1,), "iu").astype(np.int64)
        count = int(starts[-1])
        if starts[0] != 0 or (np.diff(starts) < 0).any() or count > channels * pixels:
            raise ValueError("its index pointers are out of order")
        columns = _member(archive, "indices", (count,), "iu")
        values = _member(archive, "data", (count,), "biuf")
        if count and (int(columns.min()) < 0 or int(columns.max()) >= pixels):
            raise ValueError("an index lies outside the image")
        # A stored zero is background; dropping it keeps an absent class without pixels.
        kept = values != 0
        before = np.concatenate([[0], np.cumsum(kept)])
        return cls(shape, before[starts], columns[kept])

    def masks(self, labels: Mapping[str, str], path: str) -> list[NamedMask]:
        """Return a mask for each channel that has foreground.

        Args:
            labels: class names; channel ``c`` is ``labels[str(c + 1)]``. A class without a name
                gets its number.
            path: where the label lies, for the report.
        """
        return [
            NamedMask(
                labels.get(str(channel + 1), f"class_{channel + 1:04d}"),
                _Channel(self, channel),
                path=f"{path}[{channel}]",
            )
            for channel in np.flatnonzero(np.diff(self.starts)).tolist()
        ]


@dataclass(frozen=True, slots=True)
class _Channel:
    """Draws one channel when called."""

    labels: SparseLabels
    channel: int

    def __call__(self) -> np.ndarray:
        _, height, width = self.labels.shape
        mask = np.zeros(height * width, dtype=bool)
        first, last = self.labels.starts[self.channel : self.channel + 2]
        mask[self.labels.pixels[first:last]] = True
        return mask.reshape(height, width)


def pseudo_instances(path: Path) -> list[NamedMask]:
    """Read the pseudo-instances of an image and clean them by the published rule.

    Regions that are too small are left out here; the rest are cleaned when their mask is called.

    Args:
        path: ``(H, W)`` or ``(H, W, 1)`` integers; each value but -1 is a region.

    Raises:
        BrokenInputError: the file is damaged or holds anything else.
    """
    try:
        regions: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, OSError) as error:
        raise BrokenInputError(str(path), f"not a label map ({error})") from error
    if regions.ndim == 3 and regions.shape[2] == 1:
        regions = regions[:, :, 0]
    if regions.ndim != 2 or regions.dtype.kind not in "iu" or not 0 < regions.size <= _MAX_PIXELS:
        raise BrokenInputError(
            str(path), f"not a label map ({regions.dtype} of shape {regions.shape})"
        )
    if int(regions.min()) < -1 or int(regions.max()) > _MAX_REGION:
        raise BrokenInputError(str(path), f"a region's number is not in -1..{_MAX_REGION}")
    numbered = regions.astype(np.int32) + 1
    smallest = SMALLEST_SHARE * regions.size
    sizes = np.bincount(numbered.ravel())
    masks = []
    for number, box in enumerate(ndimage.find_objects(numbered), start=1):
        if box is not None and sizes[number] >= smallest:
            name = f"{path}[{number - 1}]"
            region = _Region(name, numbered.shape, box, numbered[box] == number, smallest)
            masks.append(NamedMask("pseudo", region, name, instance=number - 1))
    return masks


@dataclass(frozen=True, slots=True)
class _Region:
    """Cleans one pseudo-instance and draws it when called."""

    name: str
    shape: tuple[int, int]
    box: tuple[slice, slice]
    crop: np.ndarray
    smallest: float

    def __call__(self) -> np.ndarray:
        crop = np.pad(self.crop, 2)
        crop = ndimage.binary_closing(ndimage.binary_opening(crop, _SQUARE), _SQUARE)
        pieces, _ = ndimage.label(crop, _SQUARE)
        large = np.bincount(pieces.ravel()) >= self.smallest
        large[0] = False
        crop = large[pieces][2:-2, 2:-2]
        if not crop.any():
            raise BrokenInputError(self.name, "no piece of this pseudo-instance is large enough")
        mask = np.zeros(self.shape, dtype=bool)
        mask[self.box] = crop
        return mask


@dataclass(frozen=True, slots=True)
class _Index:
    """What a ``dataset.json`` says."""

    folder: Path
    modality: str
    labels: Mapping[str, str]
    entries: Mapping[str, Sequence[Any]]

    @classmethod
    def read(cls, folder: Path) -> _Index:
        path = folder / INDEX
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise BrokenInputError(str(path), f"not readable as JSON ({error})") from error
        if not isinstance(content, dict):
            raise BrokenInputError(str(path), "expected an object with modality and labels")
        modality, labels = content.get("modality"), content.get("labels")
        for key, value in (("modality", modality), ("labels", labels)):
            if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
                raise BrokenInputError(str(path), f"{key!r} is not of the form {{number: name}}")
        assert isinstance(modality, dict)
        assert isinstance(labels, dict)
        if not modality:
            raise BrokenInputError(str(path), "'modality' names none")
        entries = {part: content.get(part, []) for part, _ in _PARTS}
        for part, listed in entries.items():
            if not isinstance(listed, list):
                raise BrokenInputError(str(path), f"{part!r} is not a list of images")
        return cls(folder, next(iter(modality.values())), labels, entries)


def _dataset_folders(root: Path) -> list[Path]:
    if (root / INDEX).is_file():
        return [root.resolve()]
    folders = sorted(path.parent for path in root.glob(f"*/{INDEX}")) if root.is_dir() else []
    if not folders:
        raise DatasetNotFoundError(
            f"no IMed-361M in {root}: neither it nor a folder in it holds {INDEX}. Unpack the data "
            "sets' archives into it, one folder each"
        )
    return folders


def _inside(folder: Path, entry: Any, key: str, suffix: str) -> Path | Skipped:
    """Return the file that an entry names, or why it cannot be used."""
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, str):
        return Skipped(str(folder / INDEX), f"the entry {entry!r} names no {key}")
    parts = PurePosixPath(value)
    if parts.parts != (key, parts.name) or parts.suffix != suffix or "\\" in value or "\0" in value:
        return Skipped(value, f"{folder / INDEX} names it, but it is not {key}/NAME{suffix}")
    path = folder / key / parts.name
    if not path.is_file():
        return Skipped(str(path), f"{INDEX} names it, but there is no such file")
    return path


def _shape_in_name(stem: str) -> tuple[int, int, int]:
    found = _SHAPE.search(stem)
    shape = tuple(int(size) for size in found[1].split(",")) if found else ()
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    if len(shape) != 3 or 0 in shape:
        raise ValueError("its name does not end with (CHANNELS, HEIGHT, WIDTH, 1)")
    if shape[1] * shape[2] > _MAX_PIXELS or shape[0] > 1 << 16:
        raise ValueError(f"{shape} in its name is larger than any image of the release")
    return shape[0], shape[1], shape[2]


def _member(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], kinds: str) -> np.ndarray:
    """Read an array out of an ``.npz`` once its header says what is expected."""
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"{name} is of the unknown version {version}")
        found, _, dtype = read_header(file)
    if dtype.hasobject or dtype.kind not in kinds or dtype.itemsize > 64:
        raise ValueError(f"{name} holds {dtype}, not plain numbers")
    if found != shape:
        raise ValueError(f"{name} has shape {found} instead of {shape}")
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)
