"""Hostile files, each by name, with what is said when one is refused."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from syncsam_datamodules.imed361m.files import find_listed
from syncsam_datamodules.imed361m.index import DataSet
from syncsam_datamodules.imed361m.labels import SparseLabels
from syncsam_datamodules.imed361m.pseudo import pseudo_instances
from syncsam_datamodules.mask_folder import MaskFolder
from syncsam_datamodules.samed2d.index import Classes

from syncsam_lightning.cli.checkpoint_config import checkpoint_config
from syncsam_lightning.cli.given import GivenSettings
from syncsam_lightning.data.codec import decode_image
from syncsam_lightning.data.nifti import read_volume
from syncsam_lightning.data.readers import read_image
from syncsam_lightning.data.sources import Entry, EntryIndex, open_source
from syncsam_lightning.evaluation.prompt_file import RecordedPrompts, prompt_table
from syncsam_lightning.hub import load_pretrained
from syncsam_lightning.hub.folder import CONFIG, WEIGHTS
from syncsam_lightning.models.weights.checkpoint_file import read_state_dict
from syncsam_lightning.prediction.prompt_list import read_prompts
from syncsam_lightning.records import Skipped
from syncsam_lightning.volumes.reading import read_volume as read_any_volume
from tests.fuzz import folder_seeds, seeds
from tests.fuzz.targets import LABEL_NAME, OneFile


class RefusedError(Exception):
    """Stands for what is listed as skipped instead of raised."""


@dataclass(frozen=True, slots=True)
class Attack:
    """A hostile file.

    Args:
        name: what it tries.
        run: reads it in a folder; a payload of it would make the folder ``executed`` there.
        message: part of what must be said.
    """

    name: str
    run: Callable[[Path], object]
    message: str


def payload(folder: Path) -> seeds.Payload:
    """Return what runs code where it is unpickled."""
    return seeds.Payload(str(folder / "executed"))


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


def declared(size: int) -> Callable[[Path], object]:
    """Return an archive whose directory declares another size than its file has."""

    def run(folder: Path) -> object:
        path = archive(folder, "bomb.png", bytes(1 << 20))
        data = bytearray(path.read_bytes())
        struct.pack_into("<L", data, data.rindex(b"PK\1\2") + 24, size)
        path.write_bytes(data)
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


def huge_volume(folder: Path) -> object:
    return read_volume("x.nii", seeds.nifti_files()[5])


def zipped_volume(folder: Path) -> object:
    volume = nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)).to_bytes()
    return read_volume("x.nii.gz", gzip.compress(volume + bytes(1 << 24)))


def config(text: str) -> Callable[[Path], object]:
    """Return an attack by a config file."""

    def run(folder: Path) -> object:
        path = folder / "x.yaml"
        path.write_text(text.replace("FOLDER", str(folder)))
        return GivenSettings(["fit", "--config", str(path)]).keys()

    return run


def checkpoint(read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return an attack by a checkpoint with a payload beside its weights."""

    def run(folder: Path) -> object:
        path = folder / "x.ckpt"
        torch.save({"state_dict": {"a": torch.zeros(1)}, "extra": payload(folder)}, path)
        return read(path)

    return run


def plain_pickle(folder: Path) -> object:
    path = folder / "x.pth"
    path.write_bytes(pickle.dumps(payload(folder)))
    return read_state_dict(path)


def many_prompts(folder: Path) -> object:
    count, empty = 1 << 20, prompt_table([])
    nulls = [pa.nulls(count, field.type) for field in empty.schema]
    path = folder / "prompts.parquet"
    pq.write_table(pa.table(nulls, schema=empty.schema), path, compression="zstd")
    return RecordedPrompts(path)


def dicom(**tags: object) -> Callable[[Path], object]:
    """Return an attack by a DICOM file some attributes of which are wrong."""

    def run(folder: Path) -> object:
        path = folder / "slice.dcm"
        path.write_bytes(folder_seeds.slice_file(**tags))
        return read_any_volume(path)

    return run


def volume_to_predict(name: str) -> Callable[[Path], object]:
    """Return an attack by a volume of some hundred bytes that declares 17 GB."""

    def run(folder: Path) -> object:
        data = bytearray(nib.Nifti1Image(np.zeros((2, 3, 4)), np.eye(4)).to_bytes())
        data[40:56] = struct.pack("<8h", 3, 1290, 1290, 1290, 1, 1, 1, 1)
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return read_any_volume(folder / name)

    return run


def prompts_to_predict(content: bytes, name: str = "prompts.json") -> Callable[[Path], object]:
    """Return an attack by a file of prompts."""

    def run(folder: Path) -> object:
        (folder / name).write_bytes(content)
        return read_prompts(folder / name)

    return run


def model_folder(name: str, content: bytes) -> Callable[[Path], object]:
    """Return an attack by one file of a model's folder."""

    def run(folder: Path) -> object:
        for file, sound in folder_seeds.model_folder().items():
            hostile = content.replace(b"FOLDER", str(folder).encode())
            (folder / file).write_bytes(hostile if file == name else sound)
        return load_pretrained(folder)

    return run


def pickled_model(folder: Path) -> object:
    return model_folder(WEIGHTS, pickle.dumps(payload(folder)))(folder)


def bomb_among_masks(folder: Path) -> object:
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    picture = seeds.saved(lambda path: Image.fromarray(seeds.PIXELS).save(path, "PNG"))
    (folder / "images" / "a.png").write_bytes(picture)
    (folder / "masks" / "a.png").write_bytes(seeds.png_header(100_000, 100_000))
    for item in MaskFolder(str(folder)).records(folder):
        if isinstance(item, Skipped):
            raise RefusedError(item.reason)
    return None


ATTACKS = [
    Attack("archive: a name that leaves the folder", named("../out.png"), "leaves the release"),
    Attack("archive: an absolute name", named("/etc/x.png"), "is an absolute path"),
    Attack("archive: a name with a drive", named("C:/x.png"), "is an absolute path"),
    Attack("archive: a name with backslashes", named("..\\out.png"), "holds a backslash"),
    Attack("archive: a symbolic link", link_in_archive, "it is a symbolic link"),
    Attack("archive: a file that declares 4 GB", declared(2**32 - 2), "too many to read at once"),
    Attack("archive: a file that declares 1 GB", declared(2**30), "cannot hold"),
    Attack("archive: a file that inflates to more than declared", declared(9), "more than the 9"),
    Attack("archive: another file in the place of a listed one", swapped_file, "another file is"),
    Attack("folder: a link to a file outside", link_in_folder, "link"),
    Attack("index: a path that leaves the release", listed_outside, "it is not image/NAME.png"),
    Attack(
        "index: 100,000 nested brackets",
        lambda folder: Classes.read(seeds.nested("[", "]"), "classes.json"),
        "not readable as JSON",
    ),
    Attack(
        "index: 100,000 nested objects",
        lambda folder: DataSet.read(OneFile(seeds.nested('{"a":')), Entry("dataset.json", 1)),
        "nested more than 8 levels",
    ),
    Attack(
        "npy: a pickled call",
        lambda f: pseudo_instances(seeds.npy_bytes(np.array([payload(f)], dtype=object)), "x.npy"),
        "Python objects, which are never restored",
    ),
    Attack("npz: a pickled call", objects_in_npz, "Python objects, which are never restored"),
    Attack(
        "npy: a header that declares 2^64 values",
        lambda folder: pseudo_instances(seeds.npy_files()[3], "x.npy"),
        "bytes do not hold",
    ),
    Attack("npz: an array that declares gigabytes", huge_npz, "which it does not hold"),
    Attack(
        "image: a PNG that declares 100,000 x 100,000 pixels",
        lambda folder: read_image("x.png", seeds.png_header(100_000, 100_000)),
        "cannot be decoded",
    ),
    Attack(
        "image: PostScript under the name of a PNG",
        lambda folder: read_image("x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "not an image file",
    ),
    Attack("NIfTI: a header that declares 32767^3 voxels", huge_volume, "not a volume: its shape"),
    Attack("NIfTI: a file that inflates to more than declared", zipped_volume, "holds more than"),
    Attack("config: aliases of aliases", config(seeds.configs()[2].decode()), "100,000 settings"),
    Attack("config: an alias of itself", config("data: &a {b: *a}\n"), "100,000 settings"),
    Attack(
        "config: a call",
        config("!!python/object/apply:os.mkdir [FOLDER/executed]\n"),
        "is not valid YAML",
    ),
    Attack("checkpoint: a pickled call", checkpoint(read_state_dict), "could run code"),
    Attack(
        "checkpoint to test: a pickled call", checkpoint(checkpoint_config), "cannot be read as a"
    ),
    Attack("weights: a bare pickle", plain_pickle, "is not a PyTorch checkpoint"),
    Attack("prompts: a million rows in some kilobytes", many_prompts, "more rows than it can"),
    Attack(
        "table: pixels that declare 4 TB",
        lambda folder: decode_image(seeds.frames()[3], (8, 9, 3)),
        "4398046511104 bytes are declared instead of 216",
    ),
    Attack(
        "DICOM: a slice that declares 65,535 x 65,535 pixels",
        dicom(Rows=65535, Columns=65535),
        "declares 65535 x 65535 pixels, expected 1 to",
    ),
    Attack("DICOM: pixels that are not there", dicom(PixelData=b""), "pixels cannot be decoded"),
    Attack(
        "NIfTI to predict: a header that declares 17 GB",
        volume_to_predict("x.nii"),
        "declares 17173512352 bytes, which its",
    ),
    Attack(
        "NIfTI to predict: a zipped header that declares 17 GB",
        volume_to_predict("x.nii.gz"),
        "declares 17173512352 bytes, which its",
    ),
    Attack(
        "prompts to predict: 100,000 nested brackets",
        prompts_to_predict(seeds.nested("[", "]")),
        "is not JSON: maximum recursion depth",
    ),
    Attack(
        "prompts to predict: a number of 400 digits",
        prompts_to_predict(b'[{"image": "a", "box": [1, 2, 3, ' + b"9" * 400 + b"]}]"),
        "a coordinate has too many digits",
    ),
    Attack("mask folder: a PNG that declares 100,000 x 100,000 pixels", bomb_among_masks, "cannot"),
    Attack(
        "model: a config that names a function of the system",
        model_folder(
            CONFIG,
            b'{"format": 1, "model": {"class_path": "os.mkdir", "init_args": {"path": "x"}}}',
        ),
        "which is no PromptableModel",
    ),
    Attack(
        "model: a config of 100,000 nested objects",
        model_folder(CONFIG, seeds.nested('{"a":')),
        "can't be read: maximum recursion depth",
    ),
    Attack("model: a pickled call for weights", pickled_model, "does not hold the weights"),
    Attack(
        "model: weights that declare 2^64 bytes",
        model_folder(WEIGHTS, folder_seeds.model_weights()[1]),
        "does not hold the weights",
    ),
]


def page() -> str:
    """Return the attacks as a page of the documentation."""
    rows = "\n".join(f"| {attack.name} | … {attack.message} … |" for attack in ATTACKS)
    return (
        "# Hostile files\n\nWhat is tried on every reader, and what is said when it is refused "
        f"([the tests](../tests/security/attacks.py)). None runs code, leaves its folder, or makes "
        f"room for what it only declares.\n\n| attack | message |\n|---|---|\n{rows}\n"
    )
