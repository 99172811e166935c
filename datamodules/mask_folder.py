"""Images and masks of one's own: PNG, TIFF, BMP, JPEG (images only) and NIfTI volumes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from syncsam_lightning.data.components import by_component
from syncsam_lightning.data.conversion import Records, Workbench
from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.label_volumes import Labels, SliceRule, WholeLabels
from syncsam_lightning.data.nifti import VolumeFile
from syncsam_lightning.data.readers import read_image, read_labels
from syncsam_lightning.data.slices import LabelledVolume, Slicer, surveyed
from syncsam_lightning.errors import BrokenInputError, DatasetNotFoundError
from syncsam_lightning.records import SPLITS, DatasetCard, NamedMask, RawSample, Skipped, Split
from syncsam_lightning.volumes import parse_window
from syncsam_lightning.volumes.nifti import SUFFIXES

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
IMAGE_SUFFIXES = (*MASK_SUFFIXES, ".jpg", ".jpeg")
VOLUME_SUFFIXES = SUFFIXES
MAX_VALUES = 128
"""A label map with more values than this is taken for a photograph or a probability map."""


class MaskFolder(PromptableDataModule):
    """A folder of images beside a folder of masks, joined by their names.

    A mask belongs to the image called ``NAME`` if it is

    - ``masks/NAME.png``: a label map, one mask for each value above 0. A value is labelled by
      ``label_names``; else 255 is ``object`` and any other value ``class_VALUE``.
    - ``masks/NAME/LABEL.png`` or ``masks/NAME/LABEL--2.png``: one object; 2 is its number.
    - ``masks/NAME--LABEL.png`` or ``masks/NAME--LABEL--2.png``: the same in one folder.

    The three may be mixed. A file for one object has one value beside 0, whichever it is. Any
    format of ``MASK_SUFFIXES`` does; JPEG blurs label values and is refused for masks.

    ``images`` and ``masks`` lie in ``root``, or in its folders ``train``, ``val``, ``test``, which
    then are the split.

    NIfTI volumes are cut along their axis of lowest resolution (of equal ones the last of
    right, anterior, superior) into slices seen as radiologists do: anterior or superior is up, the
    patient's right is left. A volume of a single slice is one image. What becomes black and white
    says ``window``. Slices on which nothing is labelled are left out, counted in one line for each
    volume.
    """

    settings_before: ClassVar[Mapping[str, Any]] = {"window": "percentiles", "components": False}
    card: ClassVar[DatasetCard] = DatasetCard(
        name="MaskFolder",
        description="Images and masks of one's own.",
        license="the data owner's",
        modalities=("given by the option modality",),
        layout=(
            "images/NAME.png                 or .jpg .jpeg .tif .tiff .bmp .nii .nii.gz",
            "masks/NAME.png                  label map: 0 is background, each other value a mask",
            "masks/NAME/LABEL.png            one object; further ones LABEL--2.png, LABEL--3.png",
            "masks/NAME--LABEL.png           the same without folders; NAME--LABEL--2.png",
            "train/images, train/masks, val/..., test/...   instead: an official split",
        ),
    )

    def __init__(
        self,
        root: str | None = None,
        table: str | None = None,
        *,
        modality: str = "unknown",
        source: str | None = None,
        label_names: dict[int, str] | None = None,
        case_pattern: str | None = None,
        window: str = "percentiles",
        components: bool = False,
        **kwargs: Any,
    ) -> None:
        """Create the datamodule.

        Args:
            root: the folder with ``images`` and ``masks``.
            table: the prepared table.
            modality: what the images are, for example ``ct``; reports are grouped by it.
            source: name of the data set in reports; by default the name of the folder ``root``.
            label_names: class names by value, for label maps.
            case_pattern: regular expression searched for in an image's name; its first group, or
                all that matches, is the patient or volume. By default each file is a case.
            window: which intensities of volumes become 0 and 255, by the names of ``syncsam
                predict``: ``percentiles`` (0.5 and 99.5 of the volume), ``minmax``,
                ``minmax_slice``; for CT ``soft_tissue``, ``lung``, ``bone``, ``brain``, ``liver``;
                or ``WIDTH,LEVEL``.
            components: make each 8-connected component of a mask an object of its own, for targets
                that are scattered over the image, around which one box says little.
            kwargs: see :class:`~syncsam_lightning.data.datamodule.PromptableDataModule`.

        Raises:
            ValueError: ``case_pattern`` is no regular expression.
            UnknownWindowError: there is no such window.
        """
        super().__init__(root, table, **kwargs)
        try:
            self._case = re.compile(case_pattern) if case_pattern else None
        except re.error as error:
            raise ValueError(
                f"case_pattern {case_pattern!r} is no regular expression: {error}"
            ) from error
        self.case_pattern = case_pattern
        self.modality = modality
        self.source = source
        self.label_names = label_names or {}
        self.window, self.components = window, components
        self._rule = SliceRule(parse_window(window), by_component=components)

    def table_settings(self) -> dict[str, Any]:
        """Return what shapes the table."""
        return super().table_settings() | {
            "modality": self.modality,
            "source": self.source,
            "label_names": {str(value): name for value, name in self.label_names.items()},
            "case_pattern": self.case_pattern,
            "window": self.window,
            "components": self.components,
        }

    def records(self, root: Path) -> Iterator[RawSample | Skipped]:
        """Yield the images by name; of volumes, the slices.

        Args:
            root: the folder with ``images`` and ``masks``, or with ``train``, ``val``, ``test``.

        Raises:
            DatasetNotFoundError: there is no such folder.
        """
        yield from self._samples(root, Slicer(self._rule))

    def open_records(self, root: Path | str, bench: Workbench) -> Records:
        """Read the labels of volumes in the workers, to know which slices have objects.

        Args:
            root: see :meth:`records`.
            bench: for the stage that reads them.
        """
        place = Path(root)
        images = (image for image in self._images(place) if isinstance(image, _Image))
        volumes = (self._volume(image) for image in images if image.is_volume)
        return partial(self._samples, place, surveyed(bench, volumes, self._rule))

    def _images(self, root: Path) -> Iterator[_Image | Skipped]:
        parts: list[tuple[Path, Split | None]] = [(root, None), *((root / s, s) for s in SPLITS)]
        found = [(folder, split) for folder, split in parts if (folder / "images").is_dir()]
        if not found:
            raise DatasetNotFoundError(
                f"no images in {root}: expected the folders images and masks in it, or train, val, "
                "test with images and masks in each"
            )
        for folder, split in found:
            if not (folder / "masks").is_dir():
                raise DatasetNotFoundError(f"{folder} has a folder images but no folder masks")
            yield from self._part(folder, split, self.source or root.resolve().name)

    def _part(self, folder: Path, split: Split | None, source: str) -> Iterator[_Image | Skipped]:
        images: dict[str, Path] = {}
        for path in _files(folder / "images"):
            name, suffix = _split_name(path)
            if suffix not in IMAGE_SUFFIXES + VOLUME_SUFFIXES:
                known = " ".join(IMAGE_SUFFIXES + VOLUME_SUFFIXES)
                yield Skipped(str(path), f"{suffix or 'a name without suffix'} is not of {known}")
            elif name in images:
                yield Skipped(str(path), f"has the same name as {images[name].name}, which is used")
            else:
                images[name] = path
        masks: dict[str, list[_MaskFile]] = defaultdict(list)
        for found in _mask_files(folder / "masks", images):
            if isinstance(found, Skipped):
                yield found
            else:
                masks[found.image].append(found)
        for name, path in images.items():
            case = self._case_of(name)
            if case is None:
                reason = f"case_pattern {self.case_pattern!r} does not match its name"
                yield Skipped(str(path), reason)
            elif not masks[name]:
                yield Skipped(str(path), "no file in the folder masks has its name")
            else:
                full = f"{split}/{name}" if split else name
                yield _Image(full, path, tuple(masks[name]), case, source, split)

    def _samples(self, root: Path, slicer: Slicer) -> Iterator[RawSample | Skipped]:
        for image in self._images(root):
            if isinstance(image, Skipped):
                yield image
            elif image.is_volume:
                yield from slicer.samples(self._volume(image))
            else:
                yield from self._picture(image)

    def _volume(self, image: _Image) -> LabelledVolume:
        return LabelledVolume(
            id=image.id,
            case=image.case,
            image=VolumeFile(str(image.path)),
            labels=[_labels(file, self.label_names) for file in image.masks],
            modality=self.modality,
            source=image.source,
            split=image.split,
        )

    def _picture(self, image: _Image) -> Iterator[RawSample | Skipped]:
        found = [*_picture_masks(image.masks, self.label_names)]
        yield from (one for one in found if isinstance(one, Skipped))
        masks = tuple(one for one in found if isinstance(one, NamedMask))
        yield RawSample(
            id=image.id,
            image=image.path,
            masks=by_component(masks, str(image.path)) if self.components and masks else masks,
            modality=self.modality,
            source=image.source,
            case=image.case,
            split=image.split,
        )

    def _case_of(self, name: str) -> str | None:
        if self._case is None:
            return name
        found = self._case.search(name)
        return found and (found[1] if self._case.groups else found[0])


@dataclass(frozen=True, slots=True)
class _MaskFile:
    """A mask file and what its name says: a label map if it says no label."""

    image: str
    path: Path
    label: str | None = None
    instance: int = 0


@dataclass(frozen=True, slots=True)
class _Image:
    """An image file or a volume with its mask files."""

    id: str
    path: Path
    masks: Sequence[_MaskFile]
    case: str
    source: str
    split: Split | None

    @property
    def is_volume(self) -> bool:
        return _split_name(self.path)[1] in VOLUME_SUFFIXES


@dataclass(frozen=True, slots=True)
class _ValueOf:
    """Draws one value of a label map when called; the map is decoded once for all of them."""

    labels: np.ndarray
    value: int

    def __call__(self) -> np.ndarray:
        return np.asarray(self.labels == self.value)


@dataclass(frozen=True, slots=True)
class _OneObject:
    """Reads a file that holds one object when called."""

    path: Path

    def __call__(self) -> np.ndarray:
        labels = _read_labels(self.path)
        _only_value(labels, self.path)
        return np.asarray(labels != 0)


def _split_name(path: Path) -> tuple[str, str]:
    lower = path.name.lower()
    suffix = ".nii.gz" if lower.endswith(".nii.gz") else path.suffix.lower()
    return path.name[: len(path.name) - len(suffix)], suffix


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _mask_files(folder: Path, images: Mapping[str, Path]) -> Iterator[_MaskFile | Skipped]:
    for path in _files(folder):
        if path.is_dir():
            for file in _files(path):
                label, _, number = _split_name(file)[0].partition("--")
                yield _checked(file, path.name, label, number, images)
            continue
        stem, _ = _split_name(path)
        if stem in images:
            yield _checked(path, stem, None, "", images)
            continue
        # The image's own name may contain dashes: the longest name that exists wins.
        name, _, label = stem.rpartition("--")
        number = ""
        if name not in images and label.isdecimal():
            number = label
            name, _, label = name.rpartition("--")
        yield _checked(path, name or stem, label, number, images)


def _checked(
    path: Path, name: str, label: str | None, number: str, images: Mapping[str, Path]
) -> _MaskFile | Skipped:
    suffix = _split_name(path)[1]
    if name not in images:
        return Skipped(str(path), "no file in the folder images has its name")
    expected = VOLUME_SUFFIXES if _split_name(images[name])[1] in VOLUME_SUFFIXES else MASK_SUFFIXES
    if suffix not in expected:
        return Skipped(
            str(path), f"a mask of {images[name].name} must be one of {' '.join(expected)}"
        )
    if label == "" or (number and not number.isdecimal()):
        return Skipped(str(path), "its name is not LABEL or LABEL--NUMBER")
    if label and any("\ud800" <= character <= "\udfff" for character in label):
        return Skipped(str(path), "its name is not UTF-8", "name is not UTF-8")
    return _MaskFile(name, path, label, int(number or 0))


def _picture_masks(
    files: Sequence[_MaskFile], names: Mapping[int, str]
) -> Iterator[NamedMask | Skipped]:
    for file in files:
        name = str(file.path)
        if file.label is not None:
            yield NamedMask(file.label, _OneObject(file.path), name, file.instance)
            continue
        try:
            labels = _read_labels(file.path)
            for value in _values(labels, file.path):
                drawn = _ValueOf(labels, value)
                yield NamedMask(_name(value, names), drawn, f"{name}[{value}]")
        except BrokenInputError as error:
            yield Skipped(error.path, error.reason)


def _labels(file: _MaskFile, names: Mapping[int, str]) -> Labels:
    path = str(file.path)
    if file.label is None:
        read = WholeLabels(VolumeFile(path), _values)
        return Labels(read, path, partial(_name, names=names), instance=0)
    read = WholeLabels(VolumeFile(path), _only_value)
    return Labels(read, path, partial(_given, label=file.label), instance=file.instance)


def _given(value: int, label: str) -> str:
    return label


def _read_labels(path: Path) -> np.ndarray:
    labels: np.ndarray = read_labels(path)
    with Image.open(path) as header:
        coloured = header.mode in ("RGB", "RGBA")
    # The reader keeps the first channel: classes coded as colours would be lost or mixed up.
    if coloured and (read_image(path) != labels[..., None]).any():
        raise BrokenInputError(str(path), "is a colour image: a mask is grey or has a palette")
    return labels


def _values(labels: np.ndarray, path: str | Path) -> list[int]:
    values = np.unique(labels)
    if (values < 0).any() or (values != np.round(values)).any():
        raise BrokenInputError(str(path), "not a label map: it holds values below 0 or between")
    found = [int(value) for value in values if value]
    if len(found) > MAX_VALUES:
        raise BrokenInputError(
            str(path), f"{len(found)} values are too many for a label map (limit {MAX_VALUES})"
        )
    return found


def _only_value(labels: np.ndarray, path: str | Path) -> int:
    values = _values(labels, path)
    if len(values) > 1:
        raise BrokenInputError(
            str(path), f"its name says that it holds one object, but it has the values {values}"
        )
    return values[0] if values else 0


def _name(value: int, names: Mapping[int, str]) -> str:
    return names.get(value, "object" if value == 255 else f"class_{value}")
