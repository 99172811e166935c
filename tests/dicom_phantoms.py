"""Series as scanners write them, of which every voxel and its place are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.dicom_files import save_frames, save_slice

SHAPE = (7, 6, 5)
"""Columns, rows and slices: no two alike, so that no axis passes for another."""

VALUES = np.random.default_rng(7).integers(-900, 900, SHAPE).astype(np.int16)
"""``SHAPE`` what the voxels measure (Hounsfield units)."""

ORIGIN = np.array([-31.5, 12.25, 140.0])
_SPACING = (0.7, 0.9, 2.5)


def _turned(*degrees: float) -> np.ndarray:
    """Return a rotation about x, y and z, one after the other, ``(3, 3)``."""
    turned = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one, (i, j) = np.eye(3), [n for n in range(3) if n != axis]
        one[i, i] = one[j, j] = np.cos(angle)
        one[i, j], one[j, i] = -np.sin(angle), np.sin(angle)
        turned = one @ turned
    return turned


def _axes(*letters: str) -> np.ndarray:
    """Return directions of columns, rows and slices by where they lead (L, P, S are positive)."""
    signs = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
    axes = np.zeros((3, 3))
    for column, letter in enumerate(letters):
        row, sign = signs[letter]
        axes[row, column] = sign
    return axes


def _right_handed(axes: np.ndarray) -> np.ndarray:
    """Slices are ordered along the normal of their plane: the third axis is that."""
    return np.column_stack([axes[:, 0], axes[:, 1], np.cross(axes[:, 0], axes[:, 1])])


def _in_unsigned(values: np.ndarray) -> dict[str, Any]:
    return {"stored": values.astype(np.int32) + 1024}


def _in_signed(values: np.ndarray) -> dict[str, Any]:
    return {
        "stored": values,
        "PixelRepresentation": 1,
        "PixelData": values.astype("<i2").tobytes(),
        "RescaleIntercept": 0,
    }


def _recode(path: Path, name: str) -> None:
    """Write a file anew in a transfer syntax, by pydicom's name for it."""
    from pydicom import dcmread, uid
    from pydicom.encaps import encapsulate

    syntax = getattr(uid, name)
    image = dcmread(path)
    if syntax in _ENCODERS:
        image.PixelData = encapsulate([_ENCODERS[syntax](image.pixel_array)])
        image["PixelData"].is_undefined_length = True
    elif syntax.is_encapsulated:
        image.compress(syntax)
    if not syntax.is_little_endian:
        image.PixelData = np.frombuffer(image.PixelData, "<u2").byteswap().tobytes()
        image["PixelData"].VR = "OW"
    image.file_meta.TransferSyntaxUID = syntax
    # As if it had been read from nowhere: pydicom refuses to turn the order of bytes.
    image.set_original_encoding(None, None)
    image.save_as(path, enforce_file_format=True)


def _by_libjpeg(pixels: np.ndarray) -> bytes:
    import imagecodecs

    data: bytes = imagecodecs.jpeg8_encode(pixels.view(np.uint16), lossless=True, bitspersample=16)
    return data


def _by_openjpeg(pixels: np.ndarray) -> bytes:
    import imagecodecs

    data: bytes = imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="J2K")
    return data


_ENCODERS: Mapping[str, Callable[[np.ndarray], bytes]] = {
    "1.2.840.10008.1.2.4.57": _by_libjpeg,
    "1.2.840.10008.1.2.4.70": _by_libjpeg,
    "1.2.840.10008.1.2.4.90": _by_openjpeg,
}
"""What pydicom has no encoder of."""


def _inverted(values: np.ndarray) -> dict[str, Any]:
    return {"stored": 1024 - values.astype(np.int32), "PhotometricInterpretation": "MONOCHROME1"}


@dataclass(frozen=True)
class Phantom:
    """A kind of series.

    Args:
        axes: directions of columns, rows and slices in the patient (left, posterior, superior).
        shear: how far a slice is shifted along its rows, in mm (a tilted gantry).
        stored: a slice's values -> what it stores, and attributes of its header.
        syntax: transfer syntax by pydicom's name; empty: explicit VR, little endian.
        tags: attributes of every slice.
        frames: slices in a file, for enhanced ones.
    """

    axes: np.ndarray = field(default_factory=lambda: np.eye(3))
    shear: float = 0.0
    stored: Callable[[np.ndarray], dict[str, Any]] = _in_unsigned
    syntax: str = ""
    tags: Mapping[str, object] = field(default_factory=dict)
    frames: tuple[int, ...] = ()

    @property
    def affine(self) -> np.ndarray:
        """From column, row and slice to millimetres left, posterior, superior, ``(4, 4)``."""
        affine = np.eye(4)
        affine[:3, :3] = self.axes * _SPACING
        affine[:3, 2] += self.axes[:, 1] * self.shear
        affine[:3, 3] = ORIGIN
        return affine

    def write(self, folder: Path) -> Path:
        """Write the series into a folder, its files in disorder; return the folder."""
        folder.mkdir()
        if self.frames:
            self._write_enhanced(folder)
        else:
            for k in range(SHAPE[2]):
                self._write_slice(folder / f"{(3 * k + 1) % SHAPE[2]}.dcm", k)
        return folder

    def _place(self) -> dict[str, object]:
        columns, rows, _ = _SPACING
        return {
            "ImageOrientationPatient": self.axes[:, :2].T.reshape(-1).round(9).tolist(),
            "PixelSpacing": [rows, columns],
        }

    def _position(self, k: int) -> tuple[float, ...]:
        return tuple((self.affine @ [0, 0, k, 1])[:3].round(9).tolist())

    def _write_slice(self, path: Path, k: int) -> None:

        tags = self.stored(VALUES[:, :, k].T)
        own = {**self._place(), "InstanceNumber": k + 1, **self.tags}
        save_slice(path, tags.pop("stored"), self._position(k), **{**own, **tags})
        if self.syntax:
            _recode(path, self.syntax)

    def _write_enhanced(self, folder: Path) -> None:
        numbers = iter(np.argsort([(3 * k + 1) % SHAPE[2] for k in range(SHAPE[2])]).tolist())
        for number, count in enumerate(self.frames):
            held = [next(numbers) for _ in range(count)]
            save_frames(
                folder / f"{number}.dcm",
                VALUES[:, :, held].swapaxes(0, 1),
                positions=[self._position(k) for k in held],
                place=self._place(),
            )


def _scaled(values: np.ndarray) -> dict[str, Any]:
    """PET and some MR: each slice is scaled by itself."""
    slope = 2 + int(values[0, 0]) % 5
    lowest = int(values.min())
    return {
        "stored": (values.astype(np.int32) - lowest) * slope,
        "RescaleSlope": 1 / slope,
        "RescaleIntercept": lowest,
    }


_OBLIQUE = _turned(0, 0, 17)
PHANTOMS: Mapping[str, Phantom] = {
    "axial": Phantom(),
    "coronal": Phantom(_right_handed(_axes("L", "I", "A"))),
    "sagittal": Phantom(_right_handed(_axes("P", "I", "L"))),
    "oblique": Phantom(_OBLIQUE),
    "twice oblique": Phantom(_turned(12, -21, 33)),
    "oblique sagittal": Phantom(_turned(5, 8, -11) @ _right_handed(_axes("P", "I", "L"))),
    "mirrored": Phantom(_right_handed(_axes("R", "P", "I"))),
    "prone": Phantom(_right_handed(_axes("R", "A", "S"))),
    "feet first": Phantom(_right_handed(_axes("R", "P", "S"))),
    "decubitus": Phantom(_right_handed(_axes("P", "R", "S"))),
    "signed": Phantom(stored=_in_signed),
    "slopes by slice": Phantom(stored=_scaled),
    "small is bright": Phantom(stored=_inverted),
    "12 bits": Phantom(tags={"BitsStored": 12, "HighBit": 11}),
    "implicit": Phantom(syntax="ImplicitVRLittleEndian"),
    "big endian": Phantom(syntax="ExplicitVRBigEndian"),
    "deflated": Phantom(syntax="DeflatedExplicitVRLittleEndian"),
    "RLE": Phantom(syntax="RLELossless"),
    "JPEG-LS": Phantom(syntax="JPEGLSLossless"),
    "JPEG 2000": Phantom(syntax="JPEG2000Lossless"),
    "JPEG Lossless": Phantom(syntax="JPEGLosslessSV1"),
    "signed JPEG Lossless": Phantom(stored=_in_signed, syntax="JPEGLosslessSV1"),
    "signed JPEG 2000": Phantom(stored=_in_signed, syntax="JPEG2000Lossless"),
    "signed JPEG-LS": Phantom(stored=_in_signed, syntax="JPEGLSLossless"),
    "enhanced": Phantom(frames=(5,)),
    "enhanced oblique": Phantom(_OBLIQUE, frames=(5,)),
    "enhanced, a frame each": Phantom(frames=(1, 1, 1, 1, 1)),
    "enhanced, several frames each": Phantom(_turned(12, -21, 33), frames=(2, 1, 2)),
}
"""Series whose slices lie straight above each other."""

TILTED = Phantom(_turned(14, 0, 0), shear=0.6)
"""A series of a tilted gantry: slices are shifted against each other."""
