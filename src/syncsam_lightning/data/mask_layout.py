"""Which files of a folder of masks belong to which image, by their names."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from syncsam_lightning.data.mask_names import original_name
from syncsam_lightning.data.readers import IMAGE_SUFFIXES, MASK_SUFFIXES
from syncsam_lightning.records import Skipped
from syncsam_lightning.volumes.dicom_file import is_dicom
from syncsam_lightning.volumes.reading import VOLUME_SUFFIXES

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
"""Endings of DICOM files, of which many have none; Siemens writes the last."""

VOLUME_MASK_SUFFIXES = (*VOLUME_SUFFIXES, ".seg.nrrd", ".dcm", ".seg.dcm")
"""Endings of masks of volumes: label maps, segmentations of 3D Slicer, DICOM SEG."""

_DOUBLE_SUFFIXES = (".nii.gz", ".seg.nrrd", ".seg.dcm")
_NUMBER = "--"


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A mask file and what its name says.

    Args:
        image: name of the image that it belongs to.
        path: of the file.
        label: of its one object; None: it is a label map.
        instance: number of the object among those of its label; 0: none is given.
    """

    image: str
    path: Path
    label: str | None = None
    instance: int = 0


def split_name(path: Path) -> tuple[str, str]:
    """Return a file's name without its suffix (in Unicode's form C), and the suffix in lower case.

    Some systems store letters with accents as two characters, and it may be one of two folders.
    """
    lower = path.name.lower()
    double = (suffix for suffix in _DOUBLE_SUFFIXES if lower.endswith(suffix))
    suffix = next(double, path.suffix.lower())
    return unicodedata.normalize("NFC", path.name[: len(path.name) - len(suffix)]), suffix


def visible_files(folder: Path) -> list[Path]:
    """Return what lies in a folder, in order, without what file managers leave behind."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def image_name(path: Path) -> tuple[str, str]:
    """Return the name of what lies in a folder of images, and why it is no image; ``""`` if it is.

    A volume may be a folder, with the files of one DICOM series.
    """
    name, suffix = split_name(path)
    if path.is_dir():
        if any(is_dicom(file) for file in visible_files(path)):
            return unicodedata.normalize("NFC", path.name), ""
        return name, (
            "is a folder without DICOM files, and other images lie in the folder images itself: "
            "put them there, with the patient in their names for case_pattern"
        )
    if suffix in IMAGE_SUFFIXES + VOLUME_SUFFIXES:
        return name, ""
    if is_dicom(path):
        # What stands behind the last point of a UID is no suffix.
        return name if suffix in DICOM_SUFFIXES else unicodedata.normalize("NFC", path.name), ""
    known = " ".join(IMAGE_SUFFIXES + VOLUME_SUFFIXES + DICOM_SUFFIXES)
    return name, f"{suffix or 'a name without suffix'} is not of {known}, nor is it DICOM"


def find_masks(
    folder: Path, images: Mapping[str, Path], *, takes_lossy: bool = False
) -> Iterator[MaskFile | Skipped]:
    """Yield the mask files of a folder, and what is none.

    For an image ``NAME``: ``NAME.png`` is a label map, ``NAME/LABEL.png`` and ``NAME--LABEL.png``
    are one object, ``LABEL--2`` its second. Of two files for the same objects the first counts.

    Args:
        folder: of the masks.
        images: by name.
        takes_lossy: whether masks may be JPEG, too.
    """
    first: dict[tuple[str, str | None, int], Path] = {}
    for found in _named(folder, images, takes_lossy):
        if isinstance(found, MaskFile):
            used = first.setdefault((found.image, found.label, found.instance), found.path)
            if used != found.path:
                reason = f"stands for the same objects as {used.relative_to(folder)}, which is used"
                yield Skipped(str(found.path), reason)
                continue
        yield found


def _named(
    folder: Path, images: Mapping[str, Path], takes_lossy: bool
) -> Iterator[MaskFile | Skipped]:
    called = _names_of(images)
    for path in visible_files(folder):
        if path.is_dir():
            image = unicodedata.normalize("NFC", path.name)
            image = called.get(image, image)
            for file in visible_files(path):
                label, _, number = split_name(file)[0].partition(_NUMBER)
                yield _checked(file, image, label, number, images, takes_lossy)
            continue
        stem, _ = split_name(path)
        if stem in called:
            yield _checked(path, called[stem], None, "", images, takes_lossy)
            continue
        # The image's own name may contain dashes: the longest name that exists wins.
        image, _, label = stem.rpartition(_NUMBER)
        number = ""
        if image not in called and label.isdecimal():
            number = label
            image, _, label = image.rpartition(_NUMBER)
        yield _checked(path, called.get(image, image) or stem, label, number, images, takes_lossy)


def _names_of(images: Mapping[str, Path]) -> dict[str, str]:
    """Return the images by all names that masks may call them by.

    ``syncsam predict`` calls the masks of ``scan.dcm`` by its whole name, as it has others of none.
    """
    whole = {
        unicodedata.normalize("NFC", path.name): name
        for name, path in images.items()
        if path.suffix.lower() in DICOM_SUFFIXES
    }
    return whole | {name: name for name in images}


def _checked(
    path: Path,
    image: str,
    label: str | None,
    number: str,
    images: Mapping[str, Path],
    takes_lossy: bool,
) -> MaskFile | Skipped:
    if image not in images:
        return Skipped(str(path), "no file in the folder images has its name" + _hint(path, images))
    suffix = split_name(path)[1]
    expected = _expected(images[image], takes_lossy)
    if suffix not in expected:
        reason = f"a mask of {images[image].name} must be one of {' '.join(expected)}"
        if suffix in IMAGE_SUFFIXES and ".png" in expected:
            reason += "; JPEG blurs its values: set mask_threshold to read it, for example to 128"
        return Skipped(str(path), reason)
    if label == "" or (number and not number.isdecimal()):
        return Skipped(str(path), "its name is not LABEL or LABEL--NUMBER")
    if label is None:
        return MaskFile(image, path)
    if any("\ud800" <= character <= "\udfff" for character in label):
        return Skipped(str(path), "its name is not UTF-8", "name is not UTF-8")
    return MaskFile(image, path, original_name(label), int(number or 0))


def _expected(image: Path, takes_lossy: bool) -> tuple[str, ...]:
    """Return the endings that masks of an image may have."""
    pictures: tuple[str, ...] = IMAGE_SUFFIXES if takes_lossy else MASK_SUFFIXES
    suffix = split_name(image)[1]
    if suffix in IMAGE_SUFFIXES and not image.is_dir():
        return pictures
    # A DICOM file may be a single picture; whether it is one shows when it is read.
    is_dicom_file = suffix not in VOLUME_SUFFIXES and not image.is_dir()
    return (*VOLUME_MASK_SUFFIXES, *pictures) if is_dicom_file else VOLUME_MASK_SUFFIXES


def _hint(path: Path, images: Mapping[str, Path]) -> str:
    """Return what a mask called ``NAME_mask`` or the like is to be called, if NAME is an image."""
    stem, suffix = split_name(path)
    for end in range(len(stem) - 1, 0, -1):
        if stem[end:].startswith(_NUMBER):
            return ""
        if not stem[end].isalnum() and (name := stem[:end]) in images:
            return (
                f"; if it is of {images[name].name}, call it {name}{suffix}, or {name}--LABEL"
                f"{suffix} if it holds one object"
            )
    return ""
