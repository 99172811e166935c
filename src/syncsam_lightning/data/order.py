"""Which rows an epoch visits, in which order: pure functions of (seed, epoch)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from syncsam_lightning.seeding import numpy_generator, stable_key

# Passes over a few rows are drawn together: making a generator takes as long as 4096 draws.
_BLOCK = 4096


def epoch_order(num_rows: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return a permutation of all rows for an epoch, int64."""
    return numpy_generator("order", seed, epoch).permutation(num_rows)


@dataclass(frozen=True, slots=True)
class Stratum:
    """Rows that share a fixed part of every epoch.

    Args:
        rows: ``(n,)`` integers, at least one, each once.
        share: of the samples of an epoch; only proportions between strata matter.
    """

    rows: np.ndarray
    share: float


class Visits(NamedTuple):
    """The samples of an epoch in order.

    Args:
        rows: ``(samples,)`` int64.
        repeats: ``(samples,)`` int64; two visits of a row in one epoch have two numbers.
    """

    rows: np.ndarray
    repeats: np.ndarray


class EpochOrder:
    """The order of every epoch, drawn from strata.

    A single stratum that fills the epoch is a permutation: every row once. Otherwise each stratum
    gives its share of the samples, exact to one sample. Its rows are used up before any comes
    again, over the ends of epochs too: a stratum with more rows than its share shows other rows in
    the next epoch, one with fewer repeats all of them equally often, to one.

    Args:
        strata: disjoint.
        num_samples: length of an epoch; None: as many as there are rows.

    Raises:
        ValueError: there are no rows to draw.
    """

    def __init__(self, strata: Sequence[Stratum], num_samples: int | None = None) -> None:
        self.strata = [s for s in strata if s.share > 0 and len(s.rows)]
        if not self.strata:
            raise ValueError("there are no rows to draw: every stratum is empty or has share 0")
        if num_samples is None:
            num_samples = sum(len(stratum.rows) for stratum in self.strata)
        self.num_samples = num_samples
        self.counts = _apportion([stratum.share for stratum in self.strata], num_samples)

    @classmethod
    def uniform(cls, num_rows: int) -> EpochOrder:
        """Return the order that visits each of some rows once per epoch."""
        return cls([Stratum(np.arange(num_rows), 1.0)])

    @cached_property
    def fingerprint(self) -> int:
        """A number that changes when the strata or their counts do; 63 bits."""
        rows = [zlib.crc32(stratum.rows.astype("<i8").tobytes()) for stratum in self.strata]
        return stable_key("strata", *rows, *self.counts)

    def epoch(self, seed: int, epoch: int) -> Visits:
        """Return the visits of an epoch."""
        if len(self.strata) == 1 and self.num_samples == len(self.strata[0].rows):
            order = epoch_order(self.num_samples, seed=seed, epoch=epoch)
            return Visits(self.strata[0].rows[order], np.zeros(len(order), np.int64))
        drawn = [
            _visits(stratum.rows, count, seed, epoch, number)
            for number, (stratum, count) in enumerate(zip(self.strata, self.counts, strict=True))
        ]
        mixed = numpy_generator("mixed", seed, epoch).permutation(self.num_samples)
        return Visits(
            np.concatenate([visits.rows for visits in drawn])[mixed],
            np.concatenate([visits.repeats for visits in drawn])[mixed],
        )


def _visits(rows: np.ndarray, count: int, seed: int, epoch: int, stratum: int) -> Visits:
    """Return the part of a stratum's endless sequence of passes that falls into an epoch."""
    size = len(rows)
    first, last = epoch * count, (epoch + 1) * count
    per_block = max(1, _BLOCK // size)
    block_size = per_block * size
    begin_block, end_block = first // block_size, -(-last // block_size)
    passes = [
        numpy_generator("pass", seed, stratum, block)
        .permuted(np.tile(np.arange(size), (per_block, 1)), axis=1)
        .ravel()
        for block in range(begin_block, end_block)
    ]
    begin = begin_block * block_size
    order = np.concatenate(passes)[first - begin : last - begin] if passes else np.zeros(0, int)
    return Visits(rows[order], np.arange(first, last) // size - first // size)


def _apportion(shares: Sequence[float], total: int) -> list[int]:
    """Divide a number in proportion to shares, by the largest remainders."""
    exact = np.asarray(shares, np.float64) / sum(shares) * total
    counts = np.floor(exact).astype(np.int64)
    missing = total - int(counts.sum())
    # Stable, so that equal remainders are decided alike everywhere.
    for index in np.argsort(counts - exact, kind="stable")[:missing]:
        counts[index] += 1
    return [int(count) for count in counts]
