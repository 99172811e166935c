"""Which files of the folders ``images`` and ``masks`` belong together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from syncsam_lightning.data.mask_layout import (
    MaskFile,
    find_masks,
    image_name,
    split_name,
    visible_files,
)
from syncsam_lightning.data.readers import IMAGE_SUFFIXES
from syncsam_lightning.errors import DatasetNotFoundError
from syncsam_lightning.records import SPLITS, Skipped, Split

from .cases import CasePattern


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image file or a volume with its mask files.

    Args:
        id: unique within the root.
        path: of the file, or of the folder of a DICOM series.
        masks: its mask files, at least one.
        case: the patient.
        split: that its folder says.
    """

    id: str
    path: Path
    masks: Sequence[MaskFile]
    case: str
    split: Split | None

    @property
    def is_volume(self) -> bool:
        """Whether it is to be cut into slices."""
        return self.path.is_dir() or split_name(self.path)[1] not in IMAGE_SUFFIXES


def images_with_masks(
    root: Path, cases: CasePattern, *, takes_lossy: bool
) -> Iterator[ImageFile | Skipped]:
    """Yield the images of a root that have masks, and what belongs to nothing.

    Args:
        root: the folder with ``images`` and ``masks``, or with ``train``, ``val``, ``test``.
        cases: finds the patient.
        takes_lossy: whether masks may be JPEG, too.

    Raises:
        DatasetNotFoundError: there is no such folder.
    """
    parts: list[tuple[Path, Split | None]] = [(root, None), *((root / s, s) for s in SPLITS)]
    found = [(folder, split) for folder, split in parts if (folder / "images").is_dir()]
    if not found:
        raise DatasetNotFoundError(
            f"no images in {root}: expected the folders images and masks in it, or train, val, "
            "test with images and masks in each, or a COCO file such as annotations.json"
        )
    for folder, split in found:
        if not (folder / "masks").is_dir():
            raise DatasetNotFoundError(
                f"{folder} has a folder images but no folder masks, nor is there a COCO file where "
                "one usually lies: the option annotations says where it is"
            )
        yield from _part(folder, split, cases, takes_lossy)


def _part(
    folder: Path, split: Split | None, cases: CasePattern, takes_lossy: bool
) -> Iterator[ImageFile | Skipped]:
    images: dict[str, Path] = {}
    for path in visible_files(folder / "images"):
        name, reason = image_name(path)
        if reason:
            yield Skipped(str(path), reason)
        elif name in images:
            yield Skipped(str(path), f"has the same name as {images[name].name}, which is used")
        else:
            images[name] = path
    masks: dict[str, list[MaskFile]] = defaultdict(list)
    for found in find_masks(folder / "masks", images, takes_lossy=takes_lossy):
        if isinstance(found, Skipped):
            yield found
        else:
            masks[found.image].append(found)
    for name, path in images.items():
        case = cases.case(name)
        if case is None:
            yield Skipped(str(path), cases.mismatch)
        elif not masks[name]:
            yield Skipped(str(path), "no file in the folder masks has its name")
        else:
            full = f"{split}/{name}" if split else name
            yield ImageFile(full, path, tuple(masks[name]), case, split)
