"""Whether models met the same first prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from syncsam_lightning.errors import ComparisonError
from syncsam_lightning.evaluation.comparison.results import Run

PROMPTS = "prompts.parquet"
"""The file of recorded prompts in a result folder."""

TOLERANCE = 0.05
"""Pixels. Prompts pass through the model's frame in float32, which moves them by less."""

_KEY = ["protocol", "seed", "image_id", "mask_id"]
_NUMBERS = ["x0", "y0", "x1", "y1", "x", "y"]


def read_first_prompts(folder: Path, image_ids: Sequence[str] | None = None) -> pd.DataFrame | None:
    """Return what a run's objects were first prompted with, or None if it wasn't recorded.

    Args:
        folder: of the result.
        image_ids: whose prompts; None: all.

    Returns:
        ``protocol, seed, image_id, mask_id`` and, in original pixels, the box ``x0, y0, x1, y1``
        and the first click ``x, y``; NaN for what there wasn't.

    Raises:
        ComparisonError: the file is damaged.
    """
    path = folder / PROMPTS
    if not path.is_file():
        return None
    try:
        # Given as dictionaries, the names of millions of rows stay small.
        options = ds.ParquetFileFormat(dictionary_columns=["protocol", "image_id"])
        file = ds.dataset(path, format=options)
        columns = ["protocol", "image_id", "mask_id", "box", "points"]
        if "seed" in file.schema.names:
            columns.append("seed")
        wanted = ds.field("round") == 0
        if image_ids is not None:
            wanted &= ds.field("image_id").isin(pa.array(image_ids, pa.string()))
        table = file.to_table(columns, filter=wanted)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ComparisonError(f"{path} can't be read: {error}; remove it to go on") from error
    box = pc.list_slice(table["box"], 0, 4, return_fixed_size_list=True)
    click = pc.list_slice(table["points"], 0, 1, return_fixed_size_list=True)
    click = pc.list_element(click, 0)
    numbers = [pc.list_element(box, i) for i in range(4)]
    numbers += [pc.list_element(click, i) for i in range(2)]
    frame = table.select(["protocol", "image_id", "mask_id"]).to_pandas()
    seed = table["seed"].to_pandas() if "seed" in columns else pd.Series(0, frame.index)
    frame["seed"] = seed.fillna(0).astype(int)
    for name, values in zip(_NUMBERS, numbers, strict=True):
        frame[name] = values.to_numpy()
    return frame


def compare_first_prompts(runs: Sequence[Run]) -> list[str]:
    """Return a warning for each run and protocol whose first prompts aren't those of the others.

    The first run that has a protocol is what the others are compared with. Boxes and first clicks
    only: later clicks depend on the model's answers.

    Raises:
        ComparisonError: a file of prompts is damaged.
    """
    warnings = []
    references: dict[str, tuple[Run, pd.DataFrame]] = {}
    unrecorded = []
    for run in runs:
        prompts = read_first_prompts(run.folder)
        if prompts is None:
            unrecorded.append(str(run.folder))
            continue
        for protocol, played in prompts.groupby("protocol", observed=True):
            first, expected = references.setdefault(protocol, (run, played))
            if first is not run and (warning := _difference(first, expected, run, played)):
                warnings.append(f"protocol {protocol}: {warning}")
    if unrecorded:
        warnings.append(
            f"no {PROMPTS} in {', '.join(unrecorded)}: whether the prompts were the same is unknown"
        )
    return warnings


def _difference(first: Run, expected: pd.DataFrame, run: Run, played: pd.DataFrame) -> str | None:
    both = expected.merge(played, on=_KEY, suffixes=("", "_other"))
    where = f"{first.folder} and {run.folder}"
    if both.empty:
        return (
            f"{where} have no mask and seed in common: whether the prompts were the same is unknown"
        )
    a = both[_NUMBERS].to_numpy()
    b = both[[f"{name}_other" for name in _NUMBERS]].to_numpy()
    differs = (~np.isclose(a, b, rtol=0, atol=TOLERANCE, equal_nan=True)).any(axis=1)
    if not differs.any():
        return None
    at = int(differs.argmax())
    row = both.iloc[at]
    return (
        f"{differs.sum()} of {len(both)} first prompts differ between {where}, first for mask "
        f"{row['mask_id']} of image {row['image_id']}: {_say(a[at])} against {_say(b[at])}; "
        f"measure the second with --model.replay_prompts {first.folder / PROMPTS}"
    )


def _say(numbers: np.ndarray) -> str:
    said = []
    for name, part in (("box", numbers[:4]), ("click", numbers[4:])):
        if np.isfinite(part).all():
            said.append(f"{name} {', '.join(f'{value:.1f}' for value in part)}")
    return " and ".join(said) or "nothing"
