"""Images per second: image, five masks, boxes and first points, collated."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.data.png_files import png_loader, write_png_files
from benchmarks.data.report import Line
from benchmarks.data.rolled import NUM_IMAGES, RolledIMed361M
from syncsam_lightning.prompts import foreground_clicks

BATCH_SIZE = 50
MASKS_PER_IMAGE = 5
SIDE = 256
_PASSES = 5
GOAL = 1000.0
Clock = Callable[[], float]


def measure_loading(release: Path, folder: Path) -> list[Line]:
    """Measure the loader and the plain one on the same rows.

    Args:
        release: of IMed-361M, or a part of it.
        folder: to work in.
    """
    rates = {workers: _table_rate(release, folder, workers) for workers in (0, 1, 2)}
    table = _datamodule(release, folder, 0).table
    index = write_png_files(table, folder / "png")
    plain = {workers: _png_rate(index, workers) for workers in (0, 1, 2)}
    name = "PNG files"
    # On a machine that others use, wall time tells of them as much as of the loader.
    cpu = _table_rate(release, folder, 0, time.process_time)
    plain_cpu = _png_rate(index, 0, time.process_time)
    return [
        Line("load, one process", rates[0], "images/s", GOAL, True, plain[0], name),
        Line("  times the plain loader", [max(rates[0]) / max(plain[0])], "x"),
        Line("  per second of CPU time", cpu, "images/s", None, True, plain_cpu, name),
        Line("load, 1 worker", rates[1], "images/s", None, True, plain[1], name),
        Line("load, 2 workers", rates[2], "images/s", None, True, plain[2], name),
        Line(
            "  times 1 worker",
            [max(rates[2]) / max(rates[1])],
            "x",
            plain=[max(plain[2]) / max(plain[1])],
            plain_name=name,
        ),
        Line("stored bytes per image", [_bytes_per_image(folder / "rolled.lance")], "KiB"),
    ]


def _datamodule(release: Path, folder: Path, workers: int) -> RolledIMed361M:
    datamodule = RolledIMed361M(
        str(release),
        str(folder / "rolled.lance"),
        image_size=SIDE,
        batch_size=BATCH_SIZE,
        masks_per_image=MASKS_PER_IMAGE,
        num_workers=workers,
        val_fraction=0.0,
    )
    datamodule.prepare_data()
    datamodule.setup("fit")
    return datamodule


def _table_rate(
    release: Path, folder: Path, workers: int, clock: Clock = time.perf_counter
) -> list[float]:
    def use(batch: Any) -> None:
        foreground_clicks(batch.targets.masks, batch.targets.keys, draw=0)

    return _rate(_datamodule(release, folder, workers).train_dataloader(), use, clock)


def _png_rate(
    index: dict[str, list[str]], workers: int, clock: Clock = time.perf_counter
) -> list[float]:
    loader = png_loader(
        index, masks_per_image=MASKS_PER_IMAGE, batch_size=BATCH_SIZE, num_workers=workers
    )
    return _rate(loader, lambda batch: None, clock)


def _rate(loader: Iterable[Any], use: Callable[[Any], None], clock: Clock) -> list[float]:
    """Return the rate of each pass."""
    rates = []
    for _ in range(_PASSES):
        begin = clock()
        for batch in loader:
            use(batch)
        rates.append(NUM_IMAGES / (clock() - begin))
    return rates


def _bytes_per_image(table: Path) -> float:
    size = sum(path.stat().st_size for path in table.rglob("*") if path.is_file())
    return size / NUM_IMAGES / 1024
