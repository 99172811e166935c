"""The plain way: one PNG for each image and mask, listed in a dict, read file by file."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from syncsam_lightning.data.table import Table

Item = tuple[Tensor, Tensor, Tensor, Tensor]


def write_png_files(table: Table, folder: Path) -> dict[str, list[str]]:
    """Write every row of a table as PNG files, at the size they are stored at."""
    folder.mkdir(parents=True)
    index: dict[str, list[str]] = {}
    for number in range(len(table)):
        (record,) = table.read([number])
        image = str(folder / f"{number}.png")
        colour = np.broadcast_to(record.image, (*record.image.shape[:2], 3))
        cv2.imwrite(image, np.ascontiguousarray(colour[..., ::-1]))
        index[image] = []
        for position, mask in enumerate(record.masks):
            path = str(folder / f"{number}--{position}.png")
            cv2.imwrite(path, mask.astype(np.uint8) * 255)
            index[image].append(path)
    return index


class PNGFiles(Dataset[Item]):
    """Image, masks drawn with replacement, their boxes, and a click on each."""

    def __init__(self, index: dict[str, list[str]], masks_per_image: int) -> None:
        self.images, self.masks = list(index), list(index.values())
        self.masks_per_image = masks_per_image

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> Item:
        image = cv2.imread(self.images[number])[..., ::-1].transpose(2, 0, 1)
        paths = random.choices(self.masks[number], k=self.masks_per_image)
        masks = np.stack([cv2.imread(path, cv2.IMREAD_GRAYSCALE) > 127 for path in paths])
        boxes, points = zip(*map(_box_and_point, masks), strict=True)
        return (
            torch.from_numpy(np.ascontiguousarray(image)),
            torch.from_numpy(masks),
            torch.tensor(boxes, dtype=torch.float32),
            torch.tensor(points, dtype=torch.float32),
        )


def _box_and_point(mask: np.ndarray) -> tuple[Sequence[int], Sequence[int]]:
    rows, columns = np.nonzero(mask)
    pixel = random.randrange(len(rows))
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return box, (columns[pixel], rows[pixel])


def png_loader(
    index: dict[str, list[str]], *, masks_per_image: int, batch_size: int, num_workers: int
) -> DataLoader[Item]:
    """Return a loader as anybody would write it."""
    return DataLoader(
        PNGFiles(index, masks_per_image),
        batch_size=batch_size,
        shuffle=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        multiprocessing_context="forkserver" if num_workers else None,
    )
