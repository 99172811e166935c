"""Where a training run stands within its epoch, counted in samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from syncsam_lightning.data.sampler import BatchGeometry
from syncsam_lightning.errors import SyncSAMError


class ResumeError(SyncSAMError):
    """A checkpoint's position in the data does not fit the data at hand."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a run has come.

    Counting samples, not batches, lets it go on with another batch size or number of ranks.

    Args:
        seed: of the order.
        epoch: current epoch.
        samples: consumed in it, over all ranks.
        num_rows: rows in the training set.
    """

    seed: int
    epoch: int
    samples: int
    num_rows: int

    def state(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Position:
        """Read back what :meth:`state` gave."""
        return cls(**{key: int(state[key]) for key in cls.__dataclass_fields__})

    def normalised(self, geometry: BatchGeometry) -> Position:
        """Return the start of the next epoch if nothing is left of this one.

        Raises:
            ResumeError: the training set has another number of rows now.
        """
        if geometry.num_rows != self.num_rows:
            raise ResumeError(
                f"the training set has {geometry.num_rows} rows, the checkpoint's had "
                f"{self.num_rows}: its order can't be resumed; use the same table, or start a new "
                "run from the weights"
            )
        if geometry.batches(self.samples):
            return self
        return Position(self.seed, self.epoch + 1, 0, self.num_rows)

    def batches_done(self, geometry: BatchGeometry) -> int:
        """Return the position in batches of a geometry, such that those left add up to an epoch."""
        return len(geometry.batches()) - len(geometry.batches(self.samples))

    def advanced(self, batches: int, geometry: BatchGeometry) -> Position:
        """Return the position ``batches`` steps later within the epoch."""
        cuts = geometry.batches(self.samples)
        samples = (
            self.num_rows
            if batches >= len(cuts)
            else self.samples + batches * geometry.global_batch
        )
        return Position(self.seed, self.epoch, samples, self.num_rows)
