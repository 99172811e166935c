"""Where a training run stands within its epoch, counted in samples."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from syncsam_lightning.data.sampler import BatchGeometry
from syncsam_lightning.errors import SyncSAMError

log = logging.getLogger(__name__)


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
        num_samples: of an epoch.
        order: fingerprint of the order; 0 where it was not recorded.
        rows: key of the rows that are trained on; 0 where it was not recorded.
    """

    seed: int
    epoch: int
    samples: int
    num_samples: int
    order: int = 0
    rows: int = 0

    def state(self) -> dict[str, Any]:
        """Return plain values for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Position:
        """Read back what :meth:`state` gave."""
        return cls(**{key: int(state.get(key, 0)) for key in cls.__dataclass_fields__})

    def normalised(self, geometry: BatchGeometry, order: int = 0, rows: int = 0) -> Position:
        """Return the start of the next epoch if nothing is left of this one.

        Args:
            geometry: of the epochs now.
            order: fingerprint of the order now; 0 doesn't compare.
            rows: key of the rows now; 0 doesn't compare.

        Raises:
            ResumeError: an epoch has another length or order now, or other rows.
        """
        if geometry.num_samples != self.num_samples:
            raise ResumeError(
                f"an epoch has {geometry.num_samples} samples, the checkpoint's had "
                f"{self.num_samples}: its order can't be resumed; use the same table and settings, "
                "or start a new run from the weights"
            )
        if 0 not in (order, self.order) and order != self.order:
            raise ResumeError(
                "filter, sampling or weights differ from the checkpoint's, so that its order can't "
                "be resumed; use the same settings, or start a new run from the weights"
            )
        if 0 not in (rows, self.rows) and rows != self.rows:
            raise ResumeError(
                "the rows of the train split, or the masks chosen of them, differ from those that "
                "the checkpoint's run was trained on: use the same table and filter, or start a "
                "new run from the weights"
            )
        if rows and not self.rows:
            log.warning(
                "the checkpoint is of an earlier version and does not say which rows its run was "
                "trained on: only that table and filter give as many now was checked"
            )
        begun = replace(self, rows=rows or self.rows)
        return begun if geometry.batches(self.samples) else begun.next_epoch()

    def next_epoch(self) -> Position:
        """Return the start of the epoch after this one."""
        return replace(self, epoch=self.epoch + 1, samples=0)

    def batches_done(self, geometry: BatchGeometry) -> int:
        """Return the position in batches of a geometry, such that those left add up to an epoch."""
        return len(geometry.batches()) - len(geometry.batches(self.samples))

    def advanced(self, batches: int, geometry: BatchGeometry) -> Position:
        """Return the position ``batches`` steps later within the epoch."""
        cuts = geometry.batches(self.samples)
        samples = (
            self.num_samples
            if batches >= len(cuts)
            else self.samples + batches * geometry.global_batch
        )
        return replace(self, samples=samples)
