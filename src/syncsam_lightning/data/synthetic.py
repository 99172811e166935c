"""Made-up tables of any size with the real schema, for tests and benchmarks."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from syncsam_lightning.data.codec import encode_image, encode_mask, image_digest
from syncsam_lightning.data.lance_files import write_table
from syncsam_lightning.data.schema import COLUMNS, IMAGE_DIGEST, table_schema, with_checksums
from syncsam_lightning.seeding import numpy_generator

# Shares of images, in the rough proportions of large public collections.
_MODALITIES = {
    "ct": 0.55,
    "mr": 0.36,
    "endoscopy": 0.03,
    "pet": 0.02,
    "x_ray": 0.02,
    "dermoscopy": 0.01,
    "ultrasound": 0.006,
    "fundus_photography": 0.004,
}
_SOURCES_PER_MODALITY = 25
_LABELS_PER_MODALITY = 25
_SLICES_PER_CASE = 40
_MEAN_MASKS = 4.38
_NATIVE_SIDE = 512
_ROWS_PER_BATCH = 4096
_MASK_POOL = 1 << 16
_SPLITS = np.array(["train", "val", "test"])


def write_synthetic_table(
    place: str | os.PathLike[str], num_images: int, *, side: int = 8, seed: int = 0
) -> Path:
    """Write a table of images that are all different, in bounded memory.

    Modalities and sources have the uneven shares of real collections; images have 4.38 masks on the
    average, as those of SA-Med2D-20M. Every 40 neighbouring images are a case; 76 % of the cases
    are for training, 4 % for validation, 20 % for testing. Masks are ellipses, out of 65,536.

    Args:
        place: folder to create.
        num_images: rows.
        side: of the stored pixels. 8, the default, is for tests of the index: a row then takes some
            300 bytes. At 256 rows are about as large as real ones.
        seed: other seeds give other tables.

    Raises:
        FileExistsError: there is something at ``place``.
    """
    folder = Path(place)
    if folder.exists():
        raise FileExistsError(f"{folder} is there already")
    settings = json.dumps({"plugin": "synthetic", "side": side, "seed": seed})
    schema = table_schema(settings.encode())
    pool = _MaskPool.draw(side, min(_MASK_POOL, 1 + round(num_images * _MEAN_MASKS)), seed)
    batches = (
        with_checksums(
            _batch(begin, min(begin + _ROWS_PER_BATCH, num_images), side, seed, pool), schema
        )
        for begin in range(0, num_images, _ROWS_PER_BATCH)
    )
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    write_table(pa.RecordBatchReader.from_batches(schema, batches), partial)
    partial.replace(folder)
    return folder


@dataclass(frozen=True, slots=True)
class _MaskPool:
    """Encoded ellipses with what a row says about them, in native pixels."""

    frames: pa.Array
    boxes: np.ndarray
    areas: np.ndarray

    @classmethod
    def draw(cls, side: int, count: int, seed: int) -> _MaskPool:
        rng = numpy_generator("synthetic masks", seed)
        radii = np.clip(side * rng.beta(1.2, 6.0, (count, 2)), 0.6, side / 2)
        centres = radii + rng.random((count, 2)) * (side - 2 * radii)
        grid = np.arange(side) + 0.5
        frames, boxes, areas = [], np.empty((count, 4), np.int32), np.empty(count, np.int64)
        scale = _NATIVE_SIDE // side
        for number, ((y, x), (height, width)) in enumerate(zip(centres, radii, strict=True)):
            mask = ((grid - y) / height)[:, None] ** 2 + ((grid - x) / width) ** 2 <= 1
            mask[int(y), int(x)] = True
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            boxes[number] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
            areas[number] = mask.sum()
            frames.append(encode_mask(mask))
        return cls(pa.array(frames, pa.large_binary()), boxes * scale, areas * scale**2)


def _batch(begin: int, end: int, side: int, seed: int, pool: _MaskPool) -> pa.RecordBatch:
    rng = numpy_generator("synthetic rows", seed, begin)
    numbers = np.arange(begin, end)
    cases = numbers // _SLICES_PER_CASE
    modalities, sources, splits = _of_cases(cases, seed)
    counts = 1 + rng.poisson(_MEAN_MASKS - 1, len(numbers))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    drawn = rng.integers(len(pool.areas), size=offsets[-1])
    classes = rng.integers(_LABELS_PER_MODALITY, size=offsets[-1])
    names = list(_MODALITIES)
    texts = [f"{name} class {number}" for name in names for number in range(_LABELS_PER_MODALITY)]
    labels = np.repeat(modalities, counts) * _LABELS_PER_MODALITY + classes
    boxes = pa.FixedSizeListArray.from_arrays(pa.array(pool.boxes[drawn].ravel()), 4)
    mask_ids = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    native = np.full(len(numbers), _NATIVE_SIDE, np.int32)
    stored = np.full(len(numbers), side, np.int32)
    images = list(_images(rng, len(numbers), side))
    values = {
        "id": [f"image-{number:09d}" for number in numbers.tolist()],
        "image": pa.array([encode_image(image) for image in images], pa.large_binary()),
        "stored_height": stored,
        "stored_width": stored,
        "channels": np.ones(len(numbers), np.int8),
        "height": native,
        "width": native,
        "modality": pa.array(names).take(pa.array(modalities)),
        "source": [f"{names[m]} source {s}" for m, s in zip(modalities, sources, strict=True)],
        "case": [f"case-{case}" for case in cases.tolist()],
        "slice": [str(number) for number in (numbers % _SLICES_PER_CASE).tolist()],
        "split": pa.array(_SPLITS[splits].tolist()),
        "masks": pa.ListArray.from_arrays(offsets, pool.frames.take(pa.array(drawn))),
        "labels": pa.ListArray.from_arrays(offsets, pa.array(texts).take(pa.array(labels))),
        "boxes": pa.ListArray.from_arrays(offsets, boxes),
        "areas": pa.ListArray.from_arrays(offsets, pa.array(pool.areas[drawn])),
        "mask_ids": pa.ListArray.from_arrays(offsets, pa.array(mask_ids.astype(np.int32))),
        # The native pixels are not made: those that are stored differ as well.
        IMAGE_DIGEST: pa.array([image_digest(image) for image in images]),
    }
    return pa.RecordBatch.from_pydict({name: values[name] for name in (*COLUMNS, IMAGE_DIGEST)})


def _of_cases(cases: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw modality, source and split of each case; the same for all of its rows."""
    unique, inverse = np.unique(cases, return_inverse=True)
    # A case may begin in the batch before: its draws hang on its number alone.
    draws = np.stack([numpy_generator("case", seed, int(c)).random(3) for c in unique])[inverse]
    modalities = np.searchsorted(np.cumsum(list(_MODALITIES.values()))[:-1], draws[:, 0], "right")
    # Squared: the first sources of a modality are the largest by far.
    sources = (draws[:, 1] ** 2 * _SOURCES_PER_MODALITY).astype(np.int64)
    return modalities, sources, np.searchsorted([0.76, 0.8], draws[:, 2], "right")


def _images(rng: np.random.Generator, count: int, side: int) -> Iterator[np.ndarray]:
    """Yield ``(side, side, 1)`` uint8: smooth shapes under noise, which compress like slices do."""
    coarse_side = side // 16
    for noise in rng.integers(0, 4 if coarse_side else 256, (count, side, side, 1), np.uint8):
        if coarse_side:
            coarse = rng.integers(0, 200, (coarse_side + 1, coarse_side + 1), np.uint8)
            smooth = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)[..., None]
            noise = np.where(smooth > 40, smooth, 0).astype(np.uint8) + noise
        yield noise
