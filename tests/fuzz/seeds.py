"""What fuzzing starts from: small whole files of every format, and known kinds of attack."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import pickle
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
import torch
from PIL import Image

from syncsam_lightning.data.batch import ImageBatch, ImageInfo, ObjectInfo
from syncsam_lightning.data.codec import encode_image, encode_mask
from syncsam_lightning.evaluation.examples import Answer, Example, write_examples
from syncsam_lightning.evaluation.prompt_file import PromptRow, prompt_table
from syncsam_lightning.evaluation.scores import MaskScore, score_table
from syncsam_lightning.interaction import EvaluationProtocol, get_protocol
from syncsam_lightning.models import InputSpec
from syncsam_lightning.prompts import Targets

PIXELS = np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)
DEEP = 100_000
"""Levels of nesting that no stack has room for."""


class Payload:
    """Pickles as a call that makes a file, where a reader would let it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (self.path,)


def saved(save: Callable[[Path], object]) -> bytes:
    """Return what a function writes to the path that it is given."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        save(path)
        return path.read_bytes()


def nested(begin: str, end: str = "") -> bytes:
    """Return brackets in brackets."""
    return (begin * DEEP + end * DEEP).encode()


def samed2d_indexes() -> list[bytes]:
    """JSON of image to masks."""
    index = {"images/a--b--c--x_0001.png": ["masks/a--b--c--x_0001--0000_000.png"]}
    return [
        json.dumps(index).encode(),
        b'{"a": [], "b": ["c", "d"]}',
        b'{"a": {"b": 1}}',
        b'{"a": [1e999999999]}',
        b'{"a": [11e9911111101111111111]}',
        nested("[", "]"),
        nested('{"a":'),
    ]


def samed2d_classes() -> list[bytes]:
    """JSON of data set to class name to number."""
    return [b'{"BTCV": {"liver": 0, "spleen": 1}}', nested("[", "]"), nested('{"a":')]


def imed_indexes() -> list[bytes]:
    """``dataset.json``."""
    item = {"image": "image/a.png", "label": "label/a.npz", "imask": "imask/a.npy"}
    index = {
        "modality": {"0": "ct"},
        "labels": {"0": "background", "1": "liver"},
        "training": [item],
        "test": [item],
    }
    return [
        json.dumps(index).encode(),
        json.dumps(index | {"labels": {"1" * 5000: "liver"}}).encode(),
        b'{"modality": {"0": "ct"}, "labels": {}, "training": [1e9999999999]}',
        b'{"modality.x": "ct", "labels": {}}',
        b'{"modality": {"0": "ct"}, "labels": {}, "training": [11e9911111101111111111]}',
        nested("[", "]"),
        nested('{"a":'),
        b'{"modality": {"0": "ct"}, "labels": {}, "training": [' + nested("[", "]") + b"]}",
    ]


def npz_files() -> list[bytes]:
    """Sparse labels of 3 channels and 8x9 pixels."""
    arrays = {
        "format": np.array(b"csr"),
        "shape": np.array([3, 72]),
        "indptr": np.array([0, 2, 2, 3], np.int32),
        "indices": np.array([1, 5, 71], np.int32),
        "data": np.ones(3, np.int32),
    }
    whole = saved(lambda path: _save_npz(path, arrays))
    objects = arrays | {"data": np.array([Payload("/nowhere/x")] * 3, dtype=object)}
    huge = arrays | {"indptr": np.array([0, 0, 0, 216], np.int64)}
    compressed = [
        zipped({f"{name}.npy": npy_bytes(array) for name, array in arrays.items()}, method)
        for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
    ]
    return [whole, *(saved(lambda p, a=a: _save_npz(p, a)) for a in (objects, huge)), *compressed]


def _save_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


def npy_bytes(array: np.ndarray) -> bytes:
    """Return an array as the bytes of a ``.npy`` file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def npy_header(header: bytes, version: int = 1) -> bytes:
    """Return the begin of a ``.npy`` file whose header says what it is told to."""
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header


def npy_files() -> list[bytes]:
    """Label maps."""
    regions = np.zeros((20, 20), np.int64)
    regions[2:9, 3:15] = 4
    shapes = ("(4294967296, 4294967296)", "(-1, -8)", "(" * 3000, "(True, 0)", "(0, 0)", "((")
    headers = [f"{{'descr': '<i8', 'fortran_order': False, 'shape': {s}}}" for s in shapes]
    return [
        npy_bytes(regions),
        npy_bytes(regions[..., None].astype(np.uint8)),
        npy_bytes(np.array([Payload("/nowhere/x")], dtype=object)),
        *(npy_header(header.encode() + b"\n") for header in headers),
        npy_header(b"{'descr': 'V0', 'fortran_order': False, 'shape': (9999999, 9999999)}\n"),
    ]


def png_header(width: int, height: int, data: bytes = b"") -> bytes:
    """Return a PNG that declares a size, whatever its data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def image_files() -> list[bytes]:
    """PNG, JPEG, TIFF and BMP, and what is none of them but an image to Pillow."""
    pictures = [Image.fromarray(PIXELS), Image.fromarray(PIXELS[..., 0])]
    pictures += [pictures[1].convert(mode) for mode in ("1", "P", "I;16", "F", "LA", "RGBA")]
    files = [
        saved(lambda path, picture=picture: picture.save(path, "PNG"))
        for picture in pictures
        if picture.mode != "F"
    ]
    floats = PIXELS[..., 0].astype(np.float32)
    floats[0, 0] = np.nan
    kinds: list[tuple[Image.Image, dict[str, str]]] = [
        *((pictures[0], {"format": kind}) for kind in ("JPEG", "TIFF", "BMP", "GIF", "PPM", "EPS")),
        *((picture, {"format": "TIFF"}) for picture in (pictures[5], Image.fromarray(floats))),
        *(
            (pictures[0], {"format": "TIFF", "compression": name})
            for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
        ),
    ]
    files += [saved(lambda path, p=p, how=how: p.save(path, **how)) for p, how in kinds]
    return [*files, *deep_files(), png_header(100_000, 100_000), png_header(2**31 - 1, 2**31 - 1)]


def deep_files() -> list[bytes]:
    """What Pillow can't read or not wholly: TIFF of other numbers and planes, 16 bit colours."""
    deep = PIXELS.astype(np.uint16) * 257
    grey = PIXELS[..., 0]
    kinds: list[tuple[np.ndarray, dict[str, Any]]] = [
        (grey.astype(np.float64), {}),
        (grey.astype(np.float64), {"compression": "zlib"}),
        (grey.astype(np.int64), {"byteorder": ">"}),
        (deep, {"photometric": "rgb", "tile": (16, 16)}),
        (np.moveaxis(deep, 2, 0), {"photometric": "rgb", "planarconfig": "separate"}),
        (grey, {"photometric": "miniswhite", "bigtiff": True}),
        (grey > 9, {}),
        (PIXELS[..., :2], {"photometric": "minisblack", "planarconfig": "contig"}),
    ]
    files = [saved(lambda path, p=p, how=how: tifffile.imwrite(path, p, **how)) for p, how in kinds]
    large = np.tile(deep, (8, 8, 1))  # JPEG 2000 halves it five times
    encoded = (cv2.imencode(suffix, large)[1].tobytes() for suffix in (".png", ".tiff", ".jp2"))
    return [*files, *encoded]


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def zip_files() -> list[bytes]:
    """Archives, also with names that lead out of their folder, and a bomb."""
    names = ("a/b.png", "../out.png", "/abs.png", "a\\b.png", "C:/x.png", "a/\0b", "ü.png")
    return [
        zipped(dict.fromkeys(names, b"content"), zipfile.ZIP_STORED),
        zipped(dict.fromkeys(names, b"content" * 99)),
        zipped({"bomb": bytes(1 << 22)}),
        zipped({}),
        zipped({"a": b"b"}, zipfile.ZIP_LZMA),
        zipped({"a": b"b"}) + b"trailing",
    ]


def nifti_files() -> list[bytes]:
    """NIfTI 1 and 2, gzipped or not."""
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    first, second = (
        cls(voxels, np.eye(4)).to_bytes() for cls in (nib.Nifti1Image, nib.Nifti2Image)
    )
    floats = nib.Nifti1Image(voxels.astype(np.float32), np.eye(4)).to_bytes()
    huge = bytearray(first)
    huge[40:56] = struct.pack("<8h", 7, *[32767] * 7)
    flat = bytearray(first)
    flat[252:256] = struct.pack("<2h", 0, 1)
    flat[280:328] = bytes(48)
    header = bytearray(first)
    header[252:256] = struct.pack("<2h", 0, 1)  # take the sform, whatever stands in it
    header[280:328] = struct.pack("<12f", *[float("nan")] * 12)
    thin = bytearray(flat)
    thin[280:328] = struct.pack("<12f", 1, 0, 0, 0, 0, 1e-30, 0, 0, 0, 0, 1, 0)
    return [
        bytes(thin),
        first,
        second,
        floats,
        gzip.compress(first),
        bytes(huge),
        bytes(flat),
        bytes(header),
    ]


def prompted() -> tuple[ImageBatch, EvaluationProtocol, InputSpec]:
    """Return a batch of one object that the prompt files are about."""
    batch = ImageBatch(
        images=torch.zeros(1, 3, 16, 16, dtype=torch.uint8),
        targets=Targets(
            masks=torch.ones(1, 16, 16, dtype=torch.bool),
            boxes=torch.tensor([[0.0, 0, 16, 16]]),
            image_index=torch.tensor([0]),
            keys=torch.tensor([1]),
            sizes=torch.tensor([[16, 16]]),
        ),
        infos=[ImageInfo(0, "a", 16, 16, modality="ct", source="s", case="c")],
        objects=[ObjectInfo(0, "liver", 256)],
    )
    return batch, get_protocol("box"), InputSpec(16, frozenset({"boxes", "points"}), 4)


def prompt_files() -> list[bytes]:
    """Recorded prompts, also with values that are missing or wrong."""
    values = ("a", 0, "box", 1, 0, 0)
    given: list[tuple[Any, Any, Any]] = [
        ([0.0, 0.0, 9.0, 9.0], None, None),
        (None, [[1.0, 2.0]], [1]),
        ([0.0, None, 9.0, 9.0], None, None),
        ([float("nan")] * 4, None, None),
        (None, [[1.0, None]], [None]),
    ]
    tables = [prompt_table([PromptRow(*values, *prompt)]) for prompt in given]
    others = [tables[0].drop_columns(["box"]), score_table([])]
    return [saved(lambda path, t=t: pq.write_table(t, path)) for t in (*tables, *others)]


def example_files() -> list[bytes]:
    """Examples of a test."""
    answer = Answer("box", 0, "liver", PIXELS[..., 0] > 9, PIXELS[..., 0] > 99)
    example = Example("a", "s", "ct", PIXELS, [answer])
    lacks_an_answer = pa.Table.from_pylist(
        [{"image_id": "a", "source": "s", "modality": "ct", "picture": b"", "answers": [None]}]
    )
    return [
        saved(lambda path: write_examples(path, [example])),
        saved(lambda path: pq.write_table(lacks_an_answer, path)),
        *prompt_files()[:1],
    ]


def score_files() -> list[bytes]:
    """Scores of a test."""
    score = MaskScore(0, "a", 0, "liver", "s", "ct", "c", "box", 1, 9, 0.5, 0.4, 0.3)
    return [saved(lambda path: pq.write_table(score_table([score] * 2), path)), *prompt_files()[:1]]


def configs() -> list[bytes]:
    """YAML, also with aliases that multiply."""
    laughs = ["a0: &a0 {x: 1, y: 2}"]
    laughs += [
        f"a{n}: &a{n} {{{', '.join(f'{k}: *a{n - 1}' for k in 'abcdefghij')}}}"
        for n in range(1, 12)
    ]
    return [
        b"data:\n  class_path: MNI152\n  init_args: {batch_size: 4}\ntrainer: {max_epochs: 1}\n",
        b'{"model": {"network": {"class_path": "SyncSAM"}}}',
        "\n".join(laughs).encode(),
        b"data: &a {b: *a}\n",
        b"data: 2001-99-99\n? [1, 2]\n: 3\n",
        b"{1: 2, [3]: 4}",
        b"\xff\xfe\x00",
        b"!!python/object/apply:os.mkdir [/nowhere/x]\n",
        nested("[", "]"),
        nested("{a: "),
    ]


@cache
def checkpoints() -> list[bytes]:
    """Checkpoints of torch and of Lightning, also with a payload in the place of a tensor."""
    state = {"network.a": torch.arange(6.0).reshape(2, 3)}
    lightning = {
        "state_dict": state,
        "pytorch-lightning_version": "2.6.0",
        "hyper_parameters": {"lr": 0.1, "_class_path": "M"},
        "datamodule_hyper_parameters": {"seed": 0},
    }
    payload = Payload("/nowhere/x")
    contents = [state, lightning, {**lightning, "x": payload}, lightning | {"hyper_parameters": 3}]
    files = [saved(lambda path, c=c: torch.save(c, path)) for c in contents]
    legacy = saved(lambda p: torch.save(state, p, _use_new_zipfile_serialization=False))
    packed = zipped({"archive/data.pkl": pickle.dumps(payload), "archive/version": b"3\n"}, 0)
    return [*files, legacy, packed, pickle.dumps(payload), zipped({"a": b"b"}, zipfile.ZIP_LZMA)]


def frames() -> list[bytes]:
    """Pixels of a row; a frame that declares terabytes."""
    declares = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 1 << 42) + b"\x01\x00\x00"
    return [
        encode_image(PIXELS),
        encode_mask(PIXELS[..., 0] > 9),
        encode_image(np.zeros((4096, 4096, 1), np.uint8)),
        declares,
    ]


def every_seed(make: Callable[[], list[bytes]]) -> list[bytes]:
    """Return seeds, and each cut off at a few places."""
    whole = make()
    return whole + [
        data[: len(data) * part // 4] for data, part in itertools.product(whole, range(1, 4))
    ]
