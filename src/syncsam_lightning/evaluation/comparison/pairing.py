"""Scores of several runs, reduced to the masks that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from syncsam_lightning.errors import ComparisonError
from syncsam_lightning.evaluation.comparison.results import Run

Averaging = Literal["masks", "images"]
"""Over what a protocol's mean is."""

KEY = ["protocol", "source", "image_id", "mask_id"]
"""What names a score of a model: the mask, and how it was prompted."""


@dataclass(frozen=True, slots=True)
class Replicate:
    """One measurement of a model: a run with one seed.

    Args:
        model: name.
        folder: of the run.
        seed: of the simulated user.
    """

    model: str
    folder: Path
    seed: int


@dataclass(frozen=True, slots=True)
class PairedScores:
    """Scores of the same masks under the same protocols.

    Args:
        models: names, in the order given.
        protocols: names, in the order of the files.
        averaging: the rule of each protocol.
        replicates: the R measurements.
        masks: N rows: ``protocol, version, source, image_id, mask_id, modality, label, case,
            area, fill_box_dice``.
        dice: ``(N, R)`` float64 in [0, 1]; NaN where a replicate doesn't have the protocol.
        unpaired: the rows that at least one model lacks: those of :data:`KEY`, and ``missing_in``.
        notes: what a reader should know.
    """

    models: tuple[str, ...]
    protocols: tuple[str, ...]
    averaging: Mapping[str, Averaging]
    replicates: tuple[Replicate, ...]
    masks: pd.DataFrame
    dice: np.ndarray
    unpaired: pd.DataFrame
    notes: tuple[str, ...]

    def columns_of(self, model: str) -> np.ndarray:
        """Return the columns of ``dice`` that belong to a model, ``(r,)`` int."""
        return np.flatnonzero([replicate.model == model for replicate in self.replicates])

    def scores_of(self, model: str, members: np.ndarray) -> np.ndarray:
        """Return what a model scored on some masks of one protocol.

        Args:
            model: name.
            members: ``(n,)`` positions of the masks.

        Returns:
            ``(n, r)``: a column for each replicate that has the protocol; r may be 0.
        """
        scores = self.dice[np.ix_(members, self.columns_of(model))]
        measured: np.ndarray = scores[:, ~np.isnan(scores).any(axis=0)]
        return measured


def pair(runs: Sequence[Run]) -> PairedScores:
    """Keep the masks that every replicate has which was measured under the protocol at all.

    Raises:
        ComparisonError: protocols differ in their version, masks in their area, a mask was scored
            twice with different results, or no mask is in all runs.
    """
    replicates, rows = _stack(runs)
    _check_versions(rows, replicates)
    rows["row"] = rows.groupby(KEY, sort=False, observed=True).ngroup()
    notes = [note for run in runs for note in run.notes]
    rows, repeated = _without_repeats(rows, replicates)
    notes += repeated
    notes += _check_descriptions(rows, replicates)

    masks = rows.drop_duplicates("row").set_index("row").sort_index()
    dice = np.full((len(masks), len(replicates)), np.nan)
    dice[rows["row"], rows["replicate"]] = rows["dice"]
    has = ~np.isnan(dice)
    names, protocol = masks["protocol"].cat.categories, masks["protocol"].cat.codes.to_numpy()
    expected = np.stack([has[protocol == code].any(axis=0) for code in range(len(names))])
    absent = expected[protocol] & ~has
    complete = ~absent.any(axis=1)

    models = tuple(dict.fromkeys(run.model for run in runs))
    shown = set(protocol[complete].tolist())
    protocols = tuple(name for code, name in enumerate(names) if code in shown)
    unpaired = _unpaired(masks[~complete], absent[~complete], replicates)
    notes += _tell_unpaired(unpaired, masks, complete, absent, replicates)
    described = masks.drop(columns=["replicate", "dice", "seed"])[complete].reset_index(drop=True)
    return PairedScores(
        models=models,
        protocols=protocols,
        averaging={protocol: _averaging(runs, protocol) for protocol in protocols},
        replicates=tuple(replicates),
        masks=described,
        dice=dice[complete],
        unpaired=unpaired,
        notes=tuple(notes),
    )


def _averaging(runs: Sequence[Run], protocol: str) -> Averaging:
    """Return over what a protocol's mean is, as ``run.json`` tells; masks where nothing does."""
    for run in runs:
        for entry in run.details.get("protocols", []):
            if entry.get("name") == protocol and entry.get("averaging") == "images":
                return "images"
    return "masks"


def _stack(runs: Sequence[Run]) -> tuple[list[Replicate], pd.DataFrame]:
    """Return the replicates, and all rows under one another with the number of their replicate."""
    replicates: list[Replicate] = []
    tables = []
    for run in runs:
        seeds = np.unique(run.scores["seed"].to_numpy())
        numbers = np.searchsorted(seeds, run.scores["seed"].to_numpy()) + len(replicates)
        replicates += [Replicate(run.model, run.folder, int(seed)) for seed in seeds]
        tables.append(run.scores.append_column("replicate", pa.array(numbers)))
    return replicates, pa.concat_tables(tables).unify_dictionaries().to_pandas()


def _check_versions(rows: pd.DataFrame, replicates: Sequence[Replicate]) -> None:
    found = rows.drop_duplicates(["protocol", "version"])
    for protocol, entries in found.groupby("protocol", observed=True):
        if len(entries) > 1:
            where = " but ".join(
                f"{entry.version} in {replicates[entry.replicate].folder}"
                for entry in entries.itertuples()
            )
            raise ComparisonError(
                f"protocol {protocol} has version {where}: scores of different versions can't be "
                "compared; measure the models again with one version of this package"
            )


def _without_repeats(
    rows: pd.DataFrame, replicates: Sequence[Replicate]
) -> tuple[pd.DataFrame, list[str]]:
    repeats = rows.duplicated(["row", "replicate"], keep="first")
    if not repeats.any():
        return rows, []
    spread = rows.groupby(["row", "replicate"])["dice"].agg(["min", "max"])
    if len(differing := spread[spread["min"] != spread["max"]]):
        (row, replicate), values = next(differing.iterrows())
        raise ComparisonError(
            f"{replicates[replicate].folder}: {_name(rows[rows['row'] == row].iloc[0])} is there "
            f"twice, with DSC {values['min']:g} and {values['max']:g}; ids must be unique within a "
            "data set, and a result must come from one run"
        )
    counts = rows[repeats].groupby("replicate").size()
    notes = [
        f"{replicates[number].folder}: {count} rows are there twice with equal scores; each is "
        "counted once"
        for number, count in counts.items()
    ]
    return rows[~repeats].reset_index(drop=True), notes


def _check_descriptions(rows: pd.DataFrame, replicates: Sequence[Replicate]) -> list[str]:
    """Raise if a mask differs between runs; return notes where only what it is called does."""
    number = rows["row"].to_numpy()
    first = np.unique(number, return_index=True)[1][number]
    notes = []
    for column in ("area", "modality", "label", "case"):
        values = (rows[column] if column == "area" else rows[column].cat.codes).to_numpy()
        differing = np.flatnonzero(values != values[first])
        if not differing.size:
            continue
        at = differing[0]
        row, other = rows.iloc[at], rows.iloc[first[at]]
        difference = (
            f"{_name(row)} has {column} {other[column]} in {replicates[other.replicate].folder} "
            f"but {row[column]} in {replicates[row.replicate].folder}"
        )
        if column == "area":
            raise ComparisonError(f"{difference}: measure the models on the same table")
        count = len(np.unique(number[differing]))
        notes.append(f"{difference} (and {count - 1} more like it): the first is taken")
    return notes


def _unpaired(
    masks: pd.DataFrame, absent: np.ndarray, replicates: Sequence[Replicate]
) -> pd.DataFrame:
    patterns, which = np.unique(absent, axis=0, return_inverse=True)
    names = [
        ", ".join(dict.fromkeys(replicates[i].model for i in np.flatnonzero(pattern).tolist()))
        for pattern in patterns
    ]
    missing_in = [names[number] for number in which.ravel()]
    return masks[KEY].assign(missing_in=missing_in).reset_index(drop=True)


def _tell_unpaired(
    unpaired: pd.DataFrame,
    masks: pd.DataFrame,
    complete: np.ndarray,
    absent: np.ndarray,
    replicates: Sequence[Replicate],
) -> list[str]:
    if not len(unpaired):
        return []
    missing = ", ".join(
        f"{count} in {replicate.folder}"
        for replicate, count in zip(replicates, absent.sum(axis=0), strict=True)
        if count
    )
    if not complete.any():
        raise ComparisonError(
            f"no mask is in all runs (missing: {missing}): measure the models on the same table"
        )
    notes = [
        f"{len(unpaired)} of {len(masks)} scores are left out since not all models have them "
        f"(missing: {missing}); unpaired.csv lists them"
    ]
    for kind in ("protocol", "source", "modality"):
        lost = sorted(set(masks[kind]) - set(masks[kind][complete]))
        if lost:
            notes.append(f"no mask of {kind} {', '.join(lost)} is in all models: none is shown")
    return notes


def _name(row: pd.Series) -> str:
    return f"mask {row['mask_id']} of image {row['image_id']} ({row['source']}, {row['protocol']})"
