"""Reading a prepared table."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lance
import numpy as np

from syncsam_lightning.data.codec import CorruptPixelsError, decode_image, decode_mask
from syncsam_lightning.data.schema import COLUMNS, FORMAT_KEY, FORMAT_VERSION, SETTINGS_KEY
from syncsam_lightning.errors import DatasetNotFoundError, TableError
from syncsam_lightning.records import ImageRecord, Split


class Table:
    """A prepared table on disk, opened when it is first read.

    Safe to send to worker processes: they open it themselves. A process that was forked after the
    table was opened must not read it (the reader's threads don't survive a fork: crashes and hangs
    were seen), and is told so.

    Args:
        path: folder of the table.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._dataset: Any = None
        self._pid = -1

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_dataset": None, "_pid": -1}

    @property
    def dataset(self) -> Any:
        """The open Lance dataset.

        Raises:
            DatasetNotFoundError: there is no table at the path.
            TableError: it is not one of ours, or of a newer format; or this process was forked.
        """
        if self._dataset is None:
            self._dataset, self._pid = self._open(), os.getpid()
        elif self._pid != os.getpid():
            raise TableError(
                f"{self.path} was opened before this process was forked: start workers with "
                "forkserver or spawn (the datamodules do)"
            )
        return self._dataset

    def _open(self) -> Any:
        if not self.path.exists():
            raise DatasetNotFoundError(
                f"no table at {self.path}: make it with `syncsam prepare PLUGIN SOURCE {self.path}`"
            )
        try:
            dataset = lance.dataset(str(self.path))
        except (OSError, ValueError) as error:
            raise TableError(f"{self.path} cannot be opened as a table: {error}") from error
        version = (dataset.schema.metadata or {}).get(FORMAT_KEY)
        if version is None:
            raise TableError(f"{self.path} is a Lance table, but was not made by syncsam prepare")
        if int(version) > FORMAT_VERSION:
            raise TableError(
                f"{self.path} has format {int(version)}, this version reads up to "
                f"{FORMAT_VERSION}: update syncsam-lightning"
            )
        return dataset

    def __len__(self) -> int:
        return int(self.dataset.count_rows())

    @property
    def settings(self) -> dict[str, Any]:
        """What the table was prepared with."""
        settings: dict[str, Any] = json.loads(self.dataset.schema.metadata[SETTINGS_KEY])
        return settings

    def offsets(self, split: Split) -> np.ndarray:
        """Return the positions of the rows of a split, ascending, int64."""
        scanner = self.dataset.scanner(columns=["_rowoffset"], filter=f"split = '{split}'")
        offsets: np.ndarray = scanner.to_table()["_rowoffset"].to_numpy().astype(np.int64)
        return np.sort(offsets)

    def distinct(self, column: str) -> list[str]:
        """Return the sorted distinct values of a text column."""
        values = self.dataset.scanner(columns=[column]).to_table()[column]
        return sorted(values.unique().to_pylist())

    def read(self, offsets: Sequence[int]) -> list[ImageRecord]:
        """Read rows by position, in one request, in the order asked for.

        Raises:
            TableError: a row's pixels are damaged; the message names it.
        """
        rows = self.dataset.take([int(offset) for offset in offsets], columns=list(COLUMNS))
        return [self._decode(row) for row in rows.to_pylist()]

    def _decode(self, row: dict[str, Any]) -> ImageRecord:
        height, width = row["stored_height"], row["stored_width"]
        try:
            image = decode_image(row["image"], (height, width, row["channels"]))
            masks = [decode_mask(mask, (height, width)) for mask in row["masks"]]
        except CorruptPixelsError as error:
            raise TableError(
                f"row {row['id']} of {self.path} is damaged ({error}): prepare the table again"
            ) from error
        return ImageRecord(
            id=row["id"],
            image=image,
            masks=np.stack(masks),
            height=row["height"],
            width=row["width"],
            labels=tuple(row["labels"]),
            boxes=np.asarray(row["boxes"], np.float32),
            areas=np.asarray(row["areas"], np.int64),
            mask_ids=np.asarray(row["mask_ids"], np.int64),
            modality=row["modality"],
            source=row["source"],
            case=row["case"],
            slice=row["slice"],
            split=row["split"],
        )
