"""What there is to segment in the paths that a user gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from syncsam_lightning.data.readers import IMAGE_SUFFIXES
from syncsam_lightning.errors import DatasetNotFoundError
from syncsam_lightning.records import Skipped
from syncsam_lightning.volumes.dicom_file import is_dicom
from syncsam_lightning.volumes.dicom_series import find_series
from syncsam_lightning.volumes.reading import VOLUME_SUFFIXES, is_volume_file

MASK_SUFFIXES = (".png", ".nii.gz")
"""Of the files that masks of images and of volumes are written to."""

Kind = Literal["image", "volume", "dicom"]
"""A picture, a file of a volume (NIfTI, NRRD, MetaImage), DICOM."""


@dataclass(frozen=True, slots=True)
class Input:
    """An image or a volume.

    Args:
        name: what prompts and reports call it: the file's name, within a folder that was given the
            path from there; of a DICOM series the name of its folder, with the series's UID behind
            where that holds several.
        kind: what it is.
        files: the file, or those of the series.
        path: of the file or of the series's folder, with the UID as in the name.
        description: what the scanner called a series, may be empty.
        file_name: of a series of one file (a radiograph) the name that the file alone would have,
            which prompts may call it by too; else empty.
    """

    name: str
    kind: Kind
    files: tuple[Path, ...]
    path: Path
    description: str = ""
    file_name: str = ""

    @property
    def is_one_of_several(self) -> bool:
        """Whether it is a series whose folder holds others, so that the folder does not name it."""
        first = self.files[0]
        return self.kind == "dicom" and self.path not in (first, first.parent)

    @property
    def stem(self) -> str:
        """The name without what says the format: the start of the names of its masks."""
        if self.kind == "dicom":
            return self.name
        lower = self.name.lower()
        suffixes = (one for one in VOLUME_SUFFIXES[::-1] if lower.endswith(one))
        suffix = next(suffixes, Path(self.name).suffix)
        return self.name[: len(self.name) - len(suffix)]


def find_inputs(
    paths: Sequence[Path], leave_out: Iterable[Path] = ()
) -> tuple[list[Input], list[Skipped]]:
    """Look through files and folders (with all folders below) for what can be segmented.

    Args:
        paths: files and folders.
        leave_out: files and folders that are no inputs: the prompts, the output.

    Returns:
        the inputs in order, and the files that are none, with the reason.

    Raises:
        DatasetNotFoundError: a path does not exist, or there is nothing to segment.
        MissingPackageError: there are DICOM files and pydicom is not installed.
    """
    ignored = {path.resolve() for path in leave_out}
    inputs: list[Input] = []
    skipped: list[Skipped] = []
    for path in paths:
        if path.is_dir():
            _look_through(path, ignored, inputs, skipped)
        elif path.is_file():
            _add_file(path, path.name, inputs, skipped)
        else:
            raise DatasetNotFoundError(f"{path} does not exist (looked in {Path.cwd()})")
    if not inputs:
        reasons = "; ".join(f"{entry.path}: {entry.reason}" for entry in skipped[:3])
        raise DatasetNotFoundError(
            f"nothing to segment in {', '.join(map(str, paths))}: neither images "
            f"({' '.join(IMAGE_SUFFIXES)}) nor volumes ({' '.join(VOLUME_SUFFIXES)}) nor DICOM"
            + (f" ({reasons})" if reasons else "")
        )
    return inputs, skipped


def without_masks(inputs: Sequence[Input], output: Path) -> tuple[list[Input], list[Skipped]]:
    """Leave out what an earlier run has written among the inputs.

    Args:
        inputs: see :func:`find_inputs`.
        output: folder that masks go to.

    Returns:
        the inputs, and of what has the place and name of a mask of another input, which of them.
    """
    place = output.resolve()
    masks = {str(place / f"{one.stem}--"): one for one in inputs}
    kept: list[Input] = []
    skipped: list[Skipped] = []
    for one in inputs:
        path = str(one.path.resolve())
        begins = (path[: at + 2] for at in range(len(path)) if path.startswith("--", at))
        source = next((masks[begin] for begin in begins if begin in masks), None)
        if source is None or source is one or not path.endswith(MASK_SUFFIXES):
            kept.append(one)
            continue
        reason = f"has the place of a mask of {source.name}; if it is none, give another --output"
        skipped.append(Skipped(str(one.path), reason))
    return kept, skipped


def _look_through(
    root: Path, ignored: set[Path], inputs: list[Input], skipped: list[Skipped]
) -> None:
    # No call for each folder within the call for the one above it: folders may be of any depth.
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            found = [(path, path.is_dir()) for path in sorted(folder.iterdir())]
        except OSError as error:
            reason = f"the folder can't be looked into: {error.strerror}"
            skipped.append(Skipped(str(folder), reason))
            continue
        found = [one for one in found if _may_be_input(one[0], ignored)]
        _look_into(folder, root, [path for path, is_dir in found if not is_dir], inputs, skipped)
        # Links to files count as files do; those to folders may go in circles.
        inner = [path for path, is_dir in found if is_dir and not path.is_symlink()]
        waiting += reversed(inner)


def _may_be_input(path: Path, ignored: set[Path]) -> bool:
    return not path.name.startswith(".") and path.resolve() not in ignored


def _look_into(
    folder: Path, root: Path, files: Sequence[Path], inputs: list[Input], skipped: list[Skipped]
) -> None:
    dicom: list[Path] = []
    for file in files:
        if not _is_known(file) and is_dicom(file):
            dicom.append(file)
        else:
            _add_file(file, file.relative_to(root).as_posix(), inputs, skipped)
    name = folder.resolve().name if folder == root else folder.relative_to(root).as_posix()
    found = find_series(dicom)
    skipped += [Skipped(error.path, error.reason) for error in found.broken]
    if found.others:
        skipped.append(Skipped(str(folder), found.left_out))
    for one in found.series:
        called, place = name, folder
        if len(found.series) > 1:
            called, place = f"{name}/{one.uid}", folder / one.uid
        alone = one.files[0].relative_to(root).as_posix() if len(one.files) == 1 else ""
        inputs.append(Input(called, "dicom", one.files, place, one.description, alone))


def _is_known(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES or is_volume_file(file)


def _add_file(path: Path, name: str, inputs: list[Input], skipped: list[Skipped]) -> None:
    if is_volume_file(path):
        inputs.append(Input(name, "volume", (path,), path))
    elif path.suffix.lower() in IMAGE_SUFFIXES:
        inputs.append(Input(name, "image", (path,), path))
    elif is_dicom(path):
        inputs.append(Input(name, "dicom", (path,), path))
    else:
        reason = "neither an image nor a volume (NIfTI, NRRD, MetaImage) nor DICOM"
        skipped.append(Skipped(str(path), reason))
