"""Masks that lie far from their images: packed small in one pass, then found by image.

In an archive of millions of files, the masks of an image may lie hundreds of gigabytes from it.
Read in storage order and packed they take a few gigabytes, in which looking one up costs
microseconds.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import numpy as np
import pyarrow as pa

from syncsam_lightning.data.codec import decode_mask, encode_mask
from syncsam_lightning.data.conversion.units import Unit, cut_units
from syncsam_lightning.data.conversion.workbench import Outcome, UnitState, Workbench
from syncsam_lightning.data.readers import resolve_mask
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import Loadable, Skipped
from syncsam_lightning.seeding import stable_key
from syncsam_lightning.whole_files import whole_file

MASKS = "masks"

_ROWS_PER_BATCH = 256  # some 80 kB, which is what looking up one mask reads at worst
_CACHED_BATCHES = 128
_SMALLEST_UNIT, _LARGEST_UNIT, _UNITS = 1024, 1 << 16, 64
_OPEN_FILES = 512
_SCHEMA = pa.schema(
    [
        pa.field("key", pa.int64()),  # of the image, see stable_key
        pa.field("image", pa.string()),
        pa.field("name", pa.string()),
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("data", pa.binary()),  # see codec.py
    ]
)


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A mask to stage.

    Args:
        image: name of its image.
        name: its own name; unique, and orders the masks of an image.
        source: see :class:`~syncsam_lightning.records.RawSample`.
        pixels: see :data:`~syncsam_lightning.records.Loadable`.
    """

    image: str
    name: str
    source: str
    pixels: Loadable


Item: TypeAlias = MaskFile | Skipped


@dataclass(frozen=True, slots=True)
class StagedMask:
    """A staged mask, decoded when called.

    Args:
        file: that holds it.
        row: its position there.
    """

    file: str
    row: int

    def __call__(self) -> np.ndarray:
        """Return ``(H, W)`` bool at the original size."""
        batch, row = _locate(self.file, self.row)
        shape = batch["height"][row].as_py(), batch["width"][row].as_py()
        return decode_mask(batch["data"][row].as_py(), shape)


class StagedMasks:
    """All masks of a release, by image.

    Args:
        files: one for each unit of the stage.
        sizes: rows in each.
        keys: ``(n,)`` int64, keys of the images of all masks, ascending.
        rows: ``(n,)`` row of each, counted over all files.
        digest: of what they are.
    """

    def __init__(
        self, files: list[str], sizes: list[int], keys: np.ndarray, rows: np.ndarray, digest: str
    ) -> None:
        self._files, self.digest = files, digest
        self._starts = [0, *accumulate(sizes)]
        self._keys, self._rows = keys, rows

    def __len__(self) -> int:
        return len(self._keys)

    def of(self, image: str) -> list[tuple[str, StagedMask]]:
        """Return name and mask of each object on an image, ordered by name."""
        key = stable_key(image)
        first, last = np.searchsorted(self._keys, [key, key + 1])
        found = []
        for row in self._rows[first:last].tolist():
            mask = self._mask(row)
            batch, at = _locate(mask.file, mask.row)
            # Two images may have one key.
            if batch["image"][at].as_py() == image:
                found.append((batch["name"][at].as_py(), mask))
        return sorted(found, key=lambda pair: pair[0])

    def without_image(self, image_keys: np.ndarray) -> Iterator[str]:
        """Yield the names of the masks whose image is not among ``image_keys``, in stored order.

        Args:
            image_keys: ascending int64, :func:`~syncsam_lightning.seeding.stable_key` of each name.
        """
        at = np.searchsorted(image_keys, self._keys)
        known = np.zeros(len(self._keys), bool)
        inside = at < len(image_keys)
        known[inside] = image_keys[at[inside]] == self._keys[inside]
        for row in np.sort(self._rows[~known]).tolist():
            mask = self._mask(row)
            batch, local = _locate(mask.file, mask.row)
            yield batch["name"][local].as_py()

    def _mask(self, row: int) -> StagedMask:
        unit = bisect_right(self._starts, row) - 1
        return StagedMask(self._files[unit], row - self._starts[unit])


def stage_masks(bench: Workbench, masks: Iterable[Item], total: int) -> StagedMasks:
    """Pack all masks of a release and index them by image; a resumable stage.

    Args:
        bench: where to.
        masks: in storage order; what is skipped already is kept for the report.
        total: number of masks.
    """
    size = bench.options.unit_size or min(_LARGEST_UNIT, max(_SMALLEST_UNIT, total // _UNITS))
    folder = bench.stage_folder(MASKS)
    bench.run(
        MASKS,
        cut_units(masks, _identify, size),
        _WriteMasks(folder),
        total=total,
        items="masks",
        workers=-(-total // size),
    )
    states = list(bench.states(MASKS))
    files = [str(folder / state.result["file"]) for state in states]
    digest = _digest(states)
    index = bench.folder / f"index-{digest}"
    if not index.exists():
        _write_index(index, files)
    bench.options.at("index")
    keys = np.load(index / "keys.npy", mmap_mode="r")
    rows = np.load(index / "rows.npy", mmap_mode="r")
    return StagedMasks(files, [state.result["rows"] for state in states], keys, rows, digest)


def _digest(states: Iterable[UnitState]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for state in states:
        # The same files give other rows when one of them could not be read.
        lost = [skip.path for skip in state.skipped]
        digest.update(repr((state.digest, lost)).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _identify(item: Item) -> Iterator[str]:
    if isinstance(item, Skipped):
        yield from (item.path, item.reason, item.kind, item.source)
    else:
        yield item.name


def _write_index(folder: Path, files: list[str]) -> None:
    keys = np.concatenate([np.zeros(0, np.int64), *map(_keys_of, files)])
    order = np.argsort(keys, kind="stable")
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(exist_ok=True)
    for name, column in (("keys", keys[order]), ("rows", order.astype(np.uint32))):
        with whole_file(partial / f"{name}.npy") as file:
            np.save(file, column)
    partial.replace(folder)


def _keys_of(file: str) -> np.ndarray:
    only_keys = pa.ipc.IpcReadOptions(included_fields=[0])
    with pa.OSFile(file) as opened:
        keys = pa.ipc.open_file(opened, options=only_keys).read_all()["key"]
    found: np.ndarray = keys.to_numpy()
    return found


@lru_cache(maxsize=_OPEN_FILES)
def _reader(file: str) -> Any:
    # Not mapped into memory: in time all of the stage would count as this process's own.
    return pa.ipc.open_file(pa.OSFile(file))


@lru_cache(maxsize=_CACHED_BATCHES)
def _batch(file: str, number: int) -> Any:
    return _reader(file).get_batch(number)


def _locate(file: str, row: int) -> tuple[Any, int]:
    return _batch(file, row // _ROWS_PER_BATCH), row % _ROWS_PER_BATCH


@dataclass(frozen=True, slots=True)
class _WriteMasks:
    """Packs the masks of a unit into a file."""

    folder: Path

    def __call__(self, unit: Unit) -> Outcome:
        skipped: list[Skipped] = []
        listed: list[Skipped] = []
        count = 0
        # Files stay open, so a name never gets another content: a unit that is done again, because
        # one of its masks was mended, has a new file.
        name = f"{uuid4().hex}.arrow"
        with (
            whole_file(self.folder / name) as file,
            pa.ipc.new_file(file, _SCHEMA) as writer,
        ):
            rows: list[dict[str, Any]] = []
            for item in unit.items():
                if isinstance(item, Skipped):
                    listed.append(item)
                    continue
                row = _pack(item)
                if isinstance(row, Skipped):
                    skipped.append(row)
                    continue
                rows.append(row)
                count += 1
                if len(rows) == _ROWS_PER_BATCH:
                    writer.write_batch(pa.RecordBatch.from_pylist(rows, _SCHEMA))
                    rows = []
            if rows:
                writer.write_batch(pa.RecordBatch.from_pylist(rows, _SCHEMA))
        return Outcome({"rows": count, "file": name}, skipped, listed)


def _pack(item: MaskFile) -> dict[str, Any] | Skipped:
    try:
        mask = resolve_mask(item.pixels, item.name)
    except BrokenInputError as error:
        return Skipped(error.path, error.reason, error.kind, item.source)
    return {
        "key": stable_key(item.image),
        "image": item.image,
        "name": item.name,
        "height": mask.shape[0],
        "width": mask.shape[1],
        "data": encode_mask(mask),
    }
