"""NRRD and MetaImage files, made for tests: by SimpleITK, and by hand from their formats' pages."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import SimpleITK

TYPES = {"u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "f4": "float", "f8": "double"}


def save_itk(
    path: Path, voxels: np.ndarray, affine: np.ndarray, *, compressed: bool = True
) -> Path:
    """Write ``(I, J, K)`` voxels of an RAS affine without shear with SimpleITK."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels.T))
    matrix = np.diag([-1.0, -1.0, 1.0]) @ affine[:3, :3]
    spacing = np.linalg.norm(matrix, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((matrix / spacing).ravel().tolist())
    image.SetOrigin((np.diag([-1.0, -1.0, 1.0]) @ affine[:3, 3]).tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image, str(path), useCompression=compressed)
    return path


def nrrd(
    voxels: np.ndarray,
    *lines: str,
    kinds: str = "",
    encoding: str = "raw",
    space: str = "left-posterior-superior",
    directions: str = "(1,0,0) (0,1,0) (0,0,1)",
    origin: str = "(0,0,0)",
) -> bytes:
    """Return a NRRD file of voxels whose first axis is the fastest; an empty field is left out.

    Args:
        voxels: of any number of axes, little-endian.
        lines: further ones of the header.
        kinds, encoding, space, directions, origin: fields.
    """
    fields = {
        "type": TYPES[voxels.dtype.str[1:]],
        "dimension": str(voxels.ndim),
        "space": space,
        "sizes": " ".join(map(str, voxels.shape)),
        "space directions": directions,
        "kinds": kinds,
        "endian": "little",
        "encoding": encoding,
        "space origin": origin,
    }
    header = ["NRRD0005", *(f"{name}: {value}" for name, value in fields.items() if value), *lines]
    data = voxels.tobytes(order="F")
    data = gzip.compress(data) if encoding == "gzip" else data
    return "\n".join(header).encode() + b"\n\n" + data


def mha(voxels: np.ndarray, **fields: str) -> bytes:
    """Return a MetaImage file of uint8 or int16 voxels, with fields added or replaced."""
    count = voxels.ndim
    values = {
        "ObjectType": "Image",
        "NDims": str(count),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "TransformMatrix": " ".join(map(str, np.eye(count, dtype=int).ravel())),
        "Offset": " ".join("0" * count),
        "ElementSpacing": " ".join("1" * count),
        "DimSize": " ".join(map(str, voxels.shape)),
        "ElementType": {"u1": "MET_UCHAR", "i2": "MET_SHORT"}[voxels.dtype.str[1:]],
        **{name: value for name, value in fields.items() if name != "ElementDataFile"},
        "ElementDataFile": fields.get("ElementDataFile", "LOCAL"),
    }
    header = "".join(f"{name} = {value}\n" for name, value in values.items() if value)
    return header.encode() + voxels.tobytes(order="F")
