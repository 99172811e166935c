"""The plain way to know a large release: its JSON index as a dict, in every process."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import TypedDict

from benchmarks.data.memory import private_megabytes
from syncsam_lightning.data.table import Table


class IndexNumbers(TypedDict):
    """Seconds and megabytes of the index."""

    open_s: float
    order_s: float
    filter_s: float
    memory_mb: float
    worker_mb: float


def write_json_index(table: Table, path: Path) -> None:
    """Write ``{image: [mask, ...]}`` with names as SA-Med2D-20M has them."""
    number = 0
    with path.open("w", encoding="ascii") as file:
        file.write("{")
        for batch in table.scan(["modality", "source", "labels"]):
            for row in batch.to_pylist():
                source = row["source"].replace(" ", "_")
                name = f"{row['modality']}_00--{source}--case_{number // 40:06d}--z_{number:08d}"
                masks = [f"masks/{name}--{k:04d}_000.png" for k in range(len(row["labels"]))]
                file.write(f"{', ' if number else ''}{json.dumps(f'images/{name}.png')}: ")
                file.write(json.dumps(masks))
                number += 1
        file.write("}")


def measure_json_index(path: Path, modality: str) -> IndexNumbers:
    """Load an index in this process, which should do nothing else."""
    before = private_megabytes()
    begin = time.perf_counter()
    with path.open(encoding="ascii") as file:
        index: dict[str, list[str]] = json.load(file)
    opened = time.perf_counter()
    memory = private_megabytes() - before
    order = list(index)
    random.Random(0).shuffle(order)
    ordered = time.perf_counter()
    wanted = [name for name in index if name.startswith(f"images/{modality}_")]
    filtered = time.perf_counter()
    assert wanted
    return {
        "open_s": opened - begin,
        "order_s": ordered - opened,
        "filter_s": filtered - ordered,
        "memory_mb": memory,
        "worker_mb": _forked_worker_growth(index, order),
    }


def _forked_worker_growth(index: dict[str, list[str]], order: list[str]) -> float:
    """Return what a forked worker that visits a quarter of the samples adds to memory.

    Reading an object writes to its reference count, which copies the page that it is on.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        before = private_megabytes()
        for name in order[::4]:
            for mask in index[name]:
                len(mask)
        os.write(writing, f"{private_megabytes() - before}".encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return float(os.read(reading, 100))
