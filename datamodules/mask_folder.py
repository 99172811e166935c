"""Images and masks of one's own: PNG, TIFF, BMP, JPEG (images) and NIfTI volumes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.label_maps import LabelRule
from syncsam_lightning.data.mask_layout import MaskFile, find_masks, split_name, visible_files
from syncsam_lightning.data.readers import IMAGE_SUFFIXES, read_values
from syncsam_lightning.errors import BrokenInputError, DatasetNotFoundError
from syncsam_lightning.records import SPLITS, DatasetCard, NamedMask, RawSample, Skipped, Split
from syncsam_lightning.volumes.nifti import SUFFIXES as VOLUME_SUFFIXES
from syncsam_lightning.volumes.stored import read_stored
from syncsam_lightning.volumes.windows import PERCENTILES

WINDOW = PERCENTILES
"""Percentiles of a volume's voxels that become 0 and 255."""


class MaskFolder(PromptableDataModule):
    """A folder of images beside a folder of masks, joined by their names.

    A mask belongs to the image called ``NAME`` if it is

    - ``masks/NAME.png``: a label map, one mask for each value above 0. A value is labelled by
      ``label_names``; else 255 is ``object`` and any other value ``class_VALUE``.
    - ``masks/NAME/LABEL.png`` or ``masks/NAME/LABEL--2.png``: one object; 2 is its number.
    - ``masks/NAME--LABEL.png`` or ``masks/NAME--LABEL--2.png``: the same in one folder.

    The three may be mixed. A file for one object has one value beside 0, whichever it is. Any
    lossless format does; JPEG blurs label values and is refused, unless
    ``mask_threshold`` says where the object begins.

    ``images`` and ``masks`` lie in ``root``, or in its folders ``train``, ``val``, ``test``, which
    then are the split.

    NIfTI volumes are cut along their axis of lowest resolution (of equal ones the last of
    right, anterior, superior) into slices seen as radiologists do: anterior or superior is up, the
    patient's right is left. Intensities between the percentiles 0.5 and 99.5 of the whole volume
    become 0..255. Slices on which nothing is labelled are left out, counted in one line for each
    volume.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        name="MaskFolder",
        description="Images and masks of one's own.",
        license="the data owner's",
        modalities=("given by the option modality",),
        layout=(
            "images/NAME.png                 or .jpg .jpeg .jp2 .tif .tiff .bmp .nii .nii.gz",
            "masks/NAME.png                  label map: 0 is background, each other value a mask",
            "masks/NAME/LABEL.png            one object; further ones LABEL--2.png, LABEL--3.png",
            "masks/NAME--LABEL.png           the same without folders; NAME--LABEL--2.png",
            "train/images, train/masks, val/..., test/...   instead: an official split",
        ),
    )

    reads: ClassVar[tuple[str, ...]] = ("images", "masks", *SPLITS)

    def __init__(
        self,
        root: str | None = None,
        table: str | None = None,
        *,
        modality: str = "unknown",
        source: str | None = None,
        label_names: dict[int, str] | None = None,
        case_pattern: str | None = None,
        mask_threshold: float | None = None,
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
            mask_threshold: for masks with soft edges, JPEG masks and probability maps: the value
                from which on a pixel belongs to the object, such as 128 or 0.5. Each mask file
                then holds one object, ``object`` where its name says no label. By default each
                value of a label map is a class.
            kwargs: see :class:`~syncsam_lightning.data.datamodule.PromptableDataModule`.

        Raises:
            ValueError: ``case_pattern`` is no regular expression.
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
        self.mask_threshold = mask_threshold

    def table_settings(self) -> dict[str, Any]:
        """Return what shapes the table."""
        return super().table_settings() | {
            "modality": self.modality,
            "source": self.source,
            "label_names": {str(value): name for value, name in self.label_names.items()},
            "case_pattern": self.case_pattern,
            "mask_threshold": self.mask_threshold,
        }

    def records(self, root: Path) -> Iterator[RawSample | Skipped]:
        """Yield the images by name; of volumes, the slices.

        Args:
            root: the folder with ``images`` and ``masks``, or with ``train``, ``val``, ``test``.

        Raises:
            DatasetNotFoundError: there is no such folder.
        """
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

    def _part(
        self, folder: Path, split: Split | None, source: str
    ) -> Iterator[RawSample | Skipped]:
        images: dict[str, Path] = {}
        for path in visible_files(folder / "images"):
            name, suffix = split_name(path)
            if suffix not in IMAGE_SUFFIXES + VOLUME_SUFFIXES:
                known = " ".join(IMAGE_SUFFIXES + VOLUME_SUFFIXES)
                yield Skipped(str(path), f"{suffix or 'a name without suffix'} is not of {known}")
            elif name in images:
                yield Skipped(str(path), f"has the same name as {images[name].name}, which is used")
            else:
                images[name] = path
        rule = LabelRule(self.label_names, self.mask_threshold)
        masks: dict[str, list[MaskFile]] = defaultdict(list)
        lossy = rule.threshold is not None
        for found in find_masks(folder / "masks", images, takes_lossy=lossy):
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
                read = _volume if split_name(path)[1] in VOLUME_SUFFIXES else _picture
                for item in read(path, masks[name], rule):
                    if isinstance(item, Skipped):
                        yield item
                        continue
                    place = f"{name}/{item.position}" if item.position else name
                    yield RawSample(
                        id=f"{split}/{place}" if split else place,
                        image=item.pixels,
                        masks=item.masks,
                        modality=self.modality,
                        source=source,
                        case=case,
                        slice=item.position,
                        split=split,
                        path=str(path),
                    )

    def _case_of(self, name: str) -> str | None:
        if self._case is None:
            return name
        found = self._case.search(name)
        return found and (found[1] if self._case.groups else found[0])


@dataclass(frozen=True, slots=True)
class _Item:
    """What becomes a RawSample: a picture, or one slice of a volume."""

    pixels: Path | np.ndarray
    masks: Sequence[NamedMask]
    position: str = ""


_Items = Iterator[_Item | Skipped]


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
    rule: LabelRule

    def __call__(self) -> np.ndarray:
        name = str(self.path)
        labels = self.rule.labels(read_values(self.path), name)
        self.rule.only_value(labels, name)
        return np.asarray(labels != 0)


def _picture(path: Path, files: Sequence[MaskFile], rule: LabelRule) -> _Items:
    masks: list[NamedMask] = []
    for file in files:
        name = str(file.path)
        if file.label is not None:
            masks.append(NamedMask(file.label, _OneObject(file.path, rule), name, file.instance))
            continue
        try:
            labels = rule.labels(read_values(file.path), name)
            for value in rule.values(labels, name):
                drawn = _ValueOf(labels, value)
                masks.append(NamedMask(rule.name(value), drawn, f"{name}[{value}]"))
        except BrokenInputError as error:
            yield Skipped(error.path, error.reason)
    yield _Item(path, tuple(masks))


def _volume(path: Path, files: Sequence[MaskFile], rule: LabelRule) -> _Items:
    try:
        voxels, affine = _read_volume(path)
    except BrokenInputError as error:
        yield Skipped(error.path, error.reason)
        return
    objects: list[tuple[str, np.ndarray, int, MaskFile]] = []
    for file in files:
        try:
            labels, place = _read_volume(file.path)
            if labels.shape != voxels.shape:
                raise BrokenInputError(
                    str(file.path), f"has shape {labels.shape}, its image {voxels.shape}"
                )
            if not np.allclose(place, affine, atol=1e-2):
                raise BrokenInputError(str(file.path), "lies elsewhere in space than its image")
            labels = rule.labels(labels, str(file.path))
            if file.label is None:
                values = rule.values(labels, str(file.path))
                objects += [(rule.name(value), labels, value, file) for value in values]
            elif value := rule.only_value(labels, str(file.path)):
                objects.append((file.label, labels, value, file))
        except BrokenInputError as error:
            yield Skipped(error.path, error.reason)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    axis = max(range(3), key=lambda a: (round(float(sizes[a]), 3), a))
    low, high = np.percentile(voxels, WINDOW)
    unlabelled = 0
    for position in range(voxels.shape[axis]):
        masks = [
            NamedMask(label, plane, f"{file.path}[{position}]", file.instance)
            for label, labels, value, file in objects
            if (plane := _plane(labels, axis, position) == value).any()
        ]
        if not masks:
            unlabelled += 1
            continue
        grey = (_plane(voxels, axis, position).astype(np.float64) - low) / max(high - low, 1e-12)
        pixels = np.round(grey.clip(0, 1) * 255).astype(np.uint8)
        yield _Item(pixels, tuple(masks), f"{position:04d}")
    if unlabelled:
        total = voxels.shape[axis]
        yield Skipped(str(path), f"{unlabelled} of its {total} slices carry no mask")


def _read_volume(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a volume with its axes in the order right, anterior, superior."""
    volume = read_stored(path).oriented("RAS")
    return volume.values(), volume.affine


def _plane(voxels: np.ndarray, axis: int, position: int) -> np.ndarray:
    return np.ascontiguousarray(voxels.take(position, axis)[::-1, ::-1].T)
