"""Hostile files in a release or a table: archives, indexes, arrays, images, volumes, pixels."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from syncsam_datamodules import samed2d
from syncsam_datamodules.imed361m.files import find_listed
from syncsam_datamodules.imed361m.index import DataSet
from syncsam_datamodules.imed361m.labels import SparseLabels
from syncsam_datamodules.imed361m.pseudo import pseudo_instances
from syncsam_datamodules.samed2d.index import Classes

from syncsam_lightning.data.codec import decode_image
from syncsam_lightning.data.readers import read_image, resolve_image
from syncsam_lightning.data.sources import Entry, EntryIndex, open_source
from syncsam_lightning.records import Skipped
from syncsam_lightning.volumes.stored import read_stored
from tests.fuzz import seeds
from tests.fuzz.targets import LABEL_NAME, OneFile
from tests.security.attack import CODE, ESCAPE, MEMORY, Attack, RefusedError, payload


def archive(folder: Path, name: str, content: bytes = b"content") -> Path:
    """Write a zip archive with one file."""
    path = folder / "release.zip"
    path.write_bytes(seeds.zipped({name: content}))
    return path


def listed(path: Path) -> None:
    """Look through a release and raise the first reason why something in it is not read."""
    for item in open_source(path).entries():
        if isinstance(item, Skipped):
            raise RefusedError(item.reason)


def read_all(path: Path) -> None:
    """Read every file of a release."""
    source = open_source(path)
    for item in source.entries():
        if isinstance(item, Entry):
            source.read(item)


def named(name: str) -> Callable[[Path], object]:
    """Return an attack by the name of a file in an archive."""
    return lambda folder: listed(archive(folder, name))


def link_in_archive(folder: Path) -> object:
    info = zipfile.ZipInfo("link.png")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(folder / "release.zip", "w") as file:
        file.writestr(info, "/etc/passwd")
    return listed(folder / "release.zip")


def link_in_folder(folder: Path) -> object:
    (folder / "release").mkdir()
    (folder / "release" / "link.png").symlink_to("/etc/passwd")
    return listed(folder / "release")


def linked_image(folder: Path) -> object:
    """Look through an unpacked SA-Med2D-20M of which an image is a link to a file elsewhere."""
    stem = "ct_00--AMOS--a--z_1"
    (folder / "release" / "images").mkdir(parents=True)
    Image.fromarray(seeds.PIXELS).save(folder / "outside.png")
    (folder / "release" / "images" / f"{stem}.png").symlink_to(folder / "outside.png")
    (folder / "release" / samed2d.INDEX).write_text(json.dumps({f"images/{stem}.png": []}))
    (folder / "release" / samed2d.CLASSES).write_text(json.dumps({"AMOS": {"liver": 1}}))
    (found,) = samed2d.SAMed2D().records(folder / "release")
    if isinstance(found, Skipped):
        raise RefusedError(found.reason)
    return resolve_image(found.image, found.path)


def declared(size: int) -> Callable[[Path], object]:
    """Return an archive whose directory declares another size than its file has."""

    def run(folder: Path) -> object:
        path = archive(folder, "bomb.png", bytes(1 << 20))
        data = bytearray(path.read_bytes())
        struct.pack_into("<L", data, data.rindex(b"PK\1\2") + 24, size)
        path.write_bytes(data)
        return read_all(path)

    return run


def one_byte_in_two_gigabytes(method: int) -> Callable[[Path], object]:
    """Return an archive of which a file of one byte is said to take, and takes, 2 GB."""

    def run(folder: Path) -> object:
        path = folder / "release.zip"
        data = bytearray(seeds.zipped({"byte.png": b"1"}, method))
        begin, stored = data.rindex(b"PK\1\2"), 2**31
        struct.pack_into("<L", data, begin + 20, stored)
        struct.pack_into("<L", data, data.rindex(b"PK\5\6") + 16, begin + stored)
        with path.open("wb") as file:
            file.write(data[:begin])
            file.seek(begin + stored)  # a hole, which takes no room on the disk
            file.write(data[begin:])
        return read_all(path)

    return run


def swapped_file(folder: Path) -> object:
    path = archive(folder, "innocent.png")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"innocent", b"guilty00", 1))
    return read_all(path)


def listed_outside(folder: Path) -> object:
    data_set = DataSet.read(OneFile(seeds.imed_indexes()[0]), Entry("BTCV/dataset.json", 1))
    found = find_listed(data_set, EntryIndex([]), {"image": "image/../../../etc/passwd"}, "image")
    if isinstance(found, Skipped):
        raise RefusedError(found.reason)
    return found


def arrays(folder: Path, **changed: np.ndarray) -> bytes:
    """Return sparse labels of which some arrays are others."""
    with np.load(io.BytesIO(seeds.npz_files()[0])) as whole:
        content = {name: changed.get(name, whole[name]) for name in whole.files}
    file = io.BytesIO()
    np.savez(file, **content)
    return file.getvalue()


def objects_in_npz(folder: Path) -> object:
    data = arrays(folder, data=np.array([payload(folder)] * 3, dtype=object))
    return SparseLabels.load(data, LABEL_NAME)


def huge_npz(folder: Path) -> object:
    header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': ({1 << 40},)}}\n".encode()
    with zipfile.ZipFile(io.BytesIO(arrays(folder))) as whole:
        files = {name: whole.read(name) for name in whole.namelist()}
    pointers = np.array([0, 1 << 40], np.int64)
    files |= {"indptr.npy": seeds.npy_bytes(pointers), "indices.npy": seeds.npy_header(header)}
    files["shape.npy"] = seeds.npy_bytes(np.array([1, 1 << 28]))
    # As many values as there are pixels at most, of which the file has none.
    files["indptr.npy"] = seeds.npy_bytes(np.array([0, 1 << 28], np.int64))
    files["indices.npy"] = seeds.npy_header(header.replace(str(1 << 40).encode(), b"268435456"))
    return SparseLabels.load(seeds.zipped(files), "x.(1, 16384, 16384, 1).npz")


def npz_bomb(begin: bytes, declared: int | None = None) -> object:
    """Read the labels of 10,000 pixels, whose values go on with 400 MB of zeros."""
    pixels = np.arange(10_000, dtype=np.int32)
    arrays = {"format": np.array(b"csr"), "shape": np.array([1, len(pixels)]), "indices": pixels}
    arrays["indptr"] = np.array([0, len(pixels)])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            archive.writestr(f"{name}.npy", seeds.npy_bytes(array))
        with archive.open("data.npy", "w") as values:
            values.write(begin)
            for _ in range(400):
                values.write(bytes(1 << 20))
    data = bytearray(file.getvalue())
    if declared is not None:
        struct.pack_into("<L", data, data.rindex(b"PK\1\2") + 24, declared)
    return SparseLabels.load(bytes(data), "x.(1, 100, 100, 1).npz")


def bomb_in_npz(folder: Path) -> object:
    array = seeds.npy_bytes(np.ones(10_000, np.int32))
    return npz_bomb(array, declared=len(array))


def header_bomb_in_npz(folder: Path) -> object:
    return npz_bomb(b"\x93NUMPY\2\0" + struct.pack("<L", 400 << 20))


def huge_volume(folder: Path) -> object:
    return read_stored("x.nii", seeds.nifti_files()[5])


def zipped_volume(folder: Path) -> object:
    volume = nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)).to_bytes()
    return read_stored("x.nii.gz", gzip.compress(volume + bytes(1 << 24)))


def extended_volume(folder: Path) -> object:
    plain = bytearray(nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)).to_bytes())
    plain[108:112] = struct.pack("<f", 352 + (1 << 27))
    begin = bytes(plain[:348]) + b"\1\0\0\0" + struct.pack("<ii", 1 << 27, 6)
    # A member of a mebibyte, many times: unzipped it is one stream.
    return read_stored("x.nii.gz", gzip.compress(begin) + gzip.compress(bytes(1 << 20)) * 128)


RELEASE_ATTACKS = [
    Attack(
        "archive: a name that leaves the folder", ESCAPE, named("../out.png"), "leaves the release"
    ),
    Attack("archive: an absolute name", ESCAPE, named("/etc/x.png"), "is an absolute path"),
    Attack("archive: a name with a drive", ESCAPE, named("C:/x.png"), "is an absolute path"),
    Attack("archive: a name with backslashes", ESCAPE, named("..\\out.png"), "holds a backslash"),
    Attack("archive: a symbolic link", ESCAPE, link_in_archive, "it is a symbolic link"),
    Attack(
        "archive: a file that declares 4 GB",
        MEMORY,
        declared(2**32 - 2),
        "too many to read at once",
    ),
    Attack("archive: a file that declares 1 GB", MEMORY, declared(2**30), "cannot hold"),
    Attack(
        "archive: a file that inflates to more than declared",
        MEMORY,
        declared(9),
        "more than the 9",
    ),
    Attack(
        "archive: a byte that is said to be packed into 2 GB",
        MEMORY,
        one_byte_in_two_gigabytes(zipfile.ZIP_DEFLATED),
        "for which 2147483648 are too many",
    ),
    Attack(
        "archive: a byte that is said to be stored in 2 GB",
        MEMORY,
        one_byte_in_two_gigabytes(zipfile.ZIP_STORED),
        "for which 2147483648 are too many",
    ),
    Attack(
        "archive: another file in the place of a listed one",
        ESCAPE,
        swapped_file,
        "another file is",
    ),
    Attack("folder: a link to a file outside", ESCAPE, link_in_folder, "link"),
    Attack(
        "SA-Med2D-20M: an image that is a link to a file outside",
        ESCAPE,
        linked_image,
        "it is a link that leaves the release",
    ),
    Attack(
        "index: a path that leaves the release", ESCAPE, listed_outside, "it is not image/NAME.png"
    ),
    Attack(
        "index: 100,000 nested brackets",
        MEMORY,
        lambda folder: Classes.read(seeds.nested("[", "]"), "classes.json"),
        "not readable as JSON",
    ),
    Attack(
        "index: 100,000 nested objects",
        MEMORY,
        lambda folder: DataSet.read(OneFile(seeds.nested('{"a":')), Entry("dataset.json", 1)),
        "nested more than 8 levels",
    ),
    Attack(
        "npy: a pickled call",
        CODE,
        lambda f: pseudo_instances(seeds.npy_bytes(np.array([payload(f)], dtype=object)), "x.npy"),
        "Python objects, which are never restored",
    ),
    Attack("npz: a pickled call", CODE, objects_in_npz, "Python objects, which are never restored"),
    Attack(
        "npy: a header that declares 2^64 values",
        MEMORY,
        lambda folder: pseudo_instances(seeds.npy_files()[3], "x.npy"),
        "bytes do not hold",
    ),
    Attack("npz: an array that declares gigabytes", MEMORY, huge_npz, "which it does not hold"),
    Attack("npz: an array that inflates to more than declared", MEMORY, bomb_in_npz, "Bad CRC-32"),
    Attack(
        "npz: an array whose header declares and inflates to gigabytes",
        MEMORY,
        header_bomb_in_npz,
        "its header has 419430400 bytes",
    ),
    Attack(
        "image: a PNG that declares 100,000 x 100,000 pixels",
        MEMORY,
        lambda folder: read_image("x.png", seeds.png_header(100_000, 100_000)),
        "cannot be decoded",
    ),
    Attack(
        "image: PostScript under the name of a PNG",
        CODE,
        lambda folder: read_image("x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "not an image file",
    ),
    Attack(
        "NIfTI: a header that declares 32767^3 voxels",
        MEMORY,
        huge_volume,
        "not a volume: its shape",
    ),
    Attack(
        "NIfTI: a file that inflates to more than declared",
        MEMORY,
        zipped_volume,
        "holds more than",
    ),
    Attack(
        "NIfTI: a header extension that inflates to 128 MiB",
        MEMORY,
        extended_volume,
        "behind a header extension over the limit",
    ),
    Attack(
        "table: pixels that declare 4 TB",
        MEMORY,
        lambda folder: decode_image(seeds.frames()[3], (8, 9, 3)),
        "4398046511104 bytes are declared instead of 216",
    ),
]
