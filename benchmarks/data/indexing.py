"""Opening, ordering and filtering at the size of SA-Med2D-20M, beside a JSON index."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.data.json_index import IndexNumbers, measure_json_index, write_json_index
from benchmarks.data.memory import private_megabytes
from benchmarks.data.report import Line
from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.dataset import TrainingSet
from syncsam_lightning.data.filter import RowFilter
from syncsam_lightning.data.sampler import TrainingKey
from syncsam_lightning.data.sampling import Sampling
from syncsam_lightning.data.synthetic import write_synthetic_table
from syncsam_lightning.data.table import Table
from syncsam_lightning.records import DatasetCard, RawSample, Skipped

MODALITY = "mr"
_BATCHES = 200
_BATCH_SIZE = 50
_SIDE = 8
_REPETITIONS = 3
_NAME = "JSON dict"


class Synthetic(PromptableDataModule):
    """Reads a generated table."""

    card: ClassVar[DatasetCard] = DatasetCard("Synthetic", "Made up.")
    needs_root = False

    def table_settings(self) -> dict[str, Any]:
        """Any settings will do."""
        return {}

    def records(self, root: Path) -> Iterator[RawSample | Skipped]:
        """Yield nothing: the table is there."""
        yield from ()


def measure_indexing(folder: Path, num_images: int) -> list[Line]:
    """Generate a table and its JSON index, and measure both, each in processes of its own.

    Args:
        folder: to work in; a table that is there already is used.
        num_images: rows.
    """
    place, json_file = folder / f"made-{num_images}.lance", folder / f"made-{num_images}.json"
    lines = []
    if not place.exists():
        seconds = _alone(_timed_generation, place, num_images)
        lines.append(Line(f"generate {num_images:,} images", [seconds], "s"))
    if not json_file.exists():
        _alone(_write_json, place, json_file)
    ours = _repeated(_measure_table, place)
    plain = _repeated(measure_json_index, json_file, MODALITY)
    more = _repeated(_measure_choices, place)

    def beside(name: str, key: str, unit: str, limit: float | None = None) -> Line:
        return Line(name, ours[key], unit, limit, False, plain[key], _NAME)

    return [
        *lines,
        beside("open", "open_s", "s", 2),
        beside("an epoch's order", "order_s", "s", 1),
        beside("filter by modality", "filter_s", "s", 2),
        Line("filter by class", more["class_s"], "s"),
        Line("balanced order by source", more["balanced_s"], "s", 1),
        beside("memory of the main process", "memory_mb", "MB"),
        beside("growth of a worker", "worker_mb", "MB", 150),
    ]


def _repeated(measure: Callable[..., Mapping[str, Any]], *arguments: Any) -> dict[str, list[float]]:
    """Measure in some fresh processes, one after the other."""
    found = [_alone(measure, *arguments) for _ in range(_REPETITIONS)]
    return {key: [numbers[key] for numbers in found] for key in found[0]}


def _alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """Run something in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()


def _timed_generation(place: Path, num_images: int) -> float:
    begin = time.perf_counter()
    write_synthetic_table(place, num_images)
    return time.perf_counter() - begin


def _write_json(place: Path, json_file: Path) -> None:
    write_json_index(Table(place), json_file)


def _opened(place: Path, **settings: Any) -> tuple[Synthetic, float]:
    """Return a datamodule that is ready to load, and how long that took."""
    begin = time.perf_counter()
    datamodule = Synthetic(
        table=str(place), image_size=_SIDE, batch_size=_BATCH_SIZE, num_workers=0, **settings
    )
    datamodule.setup("fit")
    return datamodule, time.perf_counter() - begin


def _measure_table(place: Path) -> IndexNumbers:
    before = private_megabytes()
    datamodule, opening = _opened(place)
    begin = time.perf_counter()
    datamodule.order().epoch(0, 0)
    ordering = time.perf_counter() - begin
    memory = private_megabytes() - before
    _, filtering = _opened(place, filter=RowFilter(modality=MODALITY))
    dataset = datamodule.train_dataloader().dataset
    assert isinstance(dataset, TrainingSet)
    return {
        "open_s": opening,
        "order_s": ordering,
        "filter_s": filtering,
        "memory_mb": memory,
        "worker_mb": _alone(_worker_growth, dataset),
    }


def _measure_choices(place: Path) -> dict[str, float]:
    _, by_class = _opened(place, filter=RowFilter(label=f"{MODALITY} class 3"))
    datamodule, _ = _opened(place, sampling=Sampling("source"))
    begin = time.perf_counter()
    datamodule.order().epoch(0, 0)
    return {"class_s": by_class, "balanced_s": time.perf_counter() - begin}


def _worker_growth(dataset: TrainingSet) -> float:
    """Return what reading random batches adds to a process with everything imported.

    The rows' positions, which came with the data set, count as well.
    """
    before = private_megabytes()
    rng = np.random.default_rng(0)
    for _ in range(_BATCHES):
        rows = rng.integers(len(dataset), size=_BATCH_SIZE).tolist()
        dataset.__getitems__([TrainingKey(0, row) for row in rows])
    positions = dataset.rows.offsets.nbytes / 2**20  # type: ignore[attr-defined]
    return private_megabytes() - before + positions
