"""Pseudo-instances: label maps that a machine made, cleaned by the rule of the release's loader."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import NamedMask

from .arrays import read_array_header

SMALLEST_SHARE = 0.0005
"""A pseudo-instance, or a piece of one, that covers less of the image than this is left out."""

NONE = -1
LABEL = "pseudo"

_MAX_PIXELS = 1 << 28
_MAX_REGION = (1 << 16) - 1
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def pseudo_instances(data: bytes, path: str) -> list[NamedMask]:
    """Read the pseudo-instances of an image and clean them; see :func:`clean_regions`.

    Args:
        data: of a ``.npy`` file with ``(H, W)`` or ``(H, W, 1)`` integers; each value but -1 is a
            region. Nothing is unpickled.
        path: of the file, for the report.

    Returns:
        a mask for each region that is left, by number.

    Raises:
        BrokenInputError: the file is damaged or holds anything else.
    """
    cleaned = clean_regions(_read_regions(data, path))
    return [
        NamedMask(LABEL, _Region(cleaned, number), f"{path}[{number}]", instance=number)
        for number in np.unique(cleaned).tolist()
        if number != NONE
    ]


@dataclass(frozen=True, slots=True)
class _Region:
    regions: np.ndarray
    number: int

    def __call__(self) -> np.ndarray:
        mask: np.ndarray = self.regions == self.number
        return mask


def _read_regions(data: bytes, path: str) -> np.ndarray:
    """Return ``(H, W)`` int32 in -1..65535: numbers above 255 are as good as others."""
    try:
        file = io.BytesIO(data)
        header = read_array_header(file)
        if len(data) != header.file_size:
            raise ValueError(f"{len(data)} bytes do not hold {header.dtype} of {header.shape}")
        flat = np.frombuffer(data, header.dtype, header.count, header.begin)
        regions = flat.reshape(header.shape, order="F" if header.is_fortran else "C")
    except (ValueError, EOFError, OSError) as error:
        raise BrokenInputError(path, f"not a label map ({error})") from error
    if regions.ndim == 3 and regions.shape[2] == 1:
        regions = regions[:, :, 0]
    if regions.ndim != 2 or regions.dtype.kind not in "iu" or not 0 < regions.size <= _MAX_PIXELS:
        raise BrokenInputError(path, f"not a label map ({regions.dtype} of shape {regions.shape})")
    if int(regions.min()) < NONE or int(regions.max()) > _MAX_REGION:
        raise BrokenInputError(path, f"a region's number is not in {NONE}..{_MAX_REGION}")
    return np.ascontiguousarray(regions, dtype=np.int32)


def clean_regions(regions: np.ndarray) -> np.ndarray:
    """Clean a label map as the release's own loader does, pixel for pixel.

    Regions below 0.05 % of the pixels are dropped. The others are, by rising number, opened and
    closed with a cross of 3x3, and lose every 4-connected piece below the same share. What lies
    outside the image is background, also to the closing. A region takes the pixels that its closing
    gains from its neighbours, those of lower number included.

    Each region is worked on in its own box, as neither step leaves it; that is what makes this
    fast.

    Args:
        regions: ``(H, W)`` int32 in -1..65535, -1 is none.

    Returns:
        ``(H, W)`` int32, the same numbers without those that are left out.
    """
    smallest = regions.size * SMALLEST_SHARE
    cleaned = regions.copy()
    sizes = np.bincount((cleaned + 1).ravel())
    small = sizes < smallest
    small[0] = False
    cleaned[small[cleaned + 1]] = NONE
    for number, box in enumerate(ndimage.find_objects(cleaned + 1)):
        if box is not None:
            _clean_region(cleaned, number, _with_margin(box), smallest)
    return cleaned


def _with_margin(box: tuple[slice, slice]) -> tuple[slice, slice]:
    rows, columns = (slice(max(0, side.start - 1), side.stop + 1) for side in box)
    return rows, columns


def _clean_region(
    regions: np.ndarray, number: int, box: tuple[slice, slice], smallest: float
) -> None:
    """Clean one region in place; ``box`` holds it with a margin where the image goes on."""
    crop = regions[box]
    mask = crop == number
    solid = mask.view(np.uint8)
    for operation in (cv2.MORPH_OPEN, cv2.MORPH_CLOSE):
        solid = cv2.morphologyEx(
            solid, operation, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0
        )
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= smallest
    large[0] = False
    crop[mask] = NONE
    crop[large[pieces]] = number
