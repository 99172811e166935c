"""The order of samples: pure functions of (seed, epoch) and a position."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch.utils.data.distributed import DistributedSampler

from syncsam_lightning.seeding import numpy_generator


class TrainingKey(NamedTuple):
    """What the training set is asked for. It carries the epoch: workers have no state."""

    epoch: int
    row: int


class EvaluationKey(NamedTuple):
    """What an evaluation set is asked for; ``valid`` is False for rows that only fill up."""

    row: int
    valid: bool


def epoch_order(num_rows: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the permutation of an epoch, int64."""
    return numpy_generator("order", seed, epoch).permutation(num_rows)


@dataclass(frozen=True, slots=True)
class BatchGeometry:
    """How an epoch is cut into global batches, one share of each for every rank.

    Args:
        num_rows: rows in the training set.
        batch_size: images per rank and step.
        world_size: number of ranks.
    """

    num_rows: int
    batch_size: int
    world_size: int

    @property
    def global_batch(self) -> int:
        """Images per step over all ranks."""
        return self.batch_size * self.world_size

    def batches(self, start: int = 0) -> list[tuple[int, int]]:
        """Return ``(begin, end)`` of the global batches from a position on.

        A last batch with fewer samples than ranks is dropped: some ranks would have nothing.
        """
        cuts = [
            (begin, min(begin + self.global_batch, self.num_rows))
            for begin in range(start, self.num_rows, self.global_batch)
        ]
        return [(begin, end) for begin, end in cuts if end - begin >= self.world_size]


class GlobalOrderSampler(DistributedSampler[TrainingKey]):
    """One permutation per epoch for all ranks, resumable at any count of consumed samples.

    The order does not depend on the number of ranks, so a run may resume on another.

    Args:
        geometry: rows, batch size and world size.
        rank: of this process.
        seed: of the order.
        epoch: to begin with.
        start: samples of that epoch that were consumed before.
        current_epoch: tells the trainer's epoch. Lightning's own argument to :meth:`set_epoch` is
            one too high after resuming an end-of-epoch checkpoint with ``max_steps``.
    """

    def __init__(
        self,
        geometry: BatchGeometry,
        *,
        rank: int,
        seed: int,
        epoch: int = 0,
        start: int = 0,
        current_epoch: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(
            range(geometry.num_rows),  # type: ignore[arg-type]
            num_replicas=geometry.world_size,
            rank=rank,
            seed=seed,
        )
        self.geometry = geometry
        self.epoch, self.start = epoch, start
        self._first_epoch = epoch
        self._current_epoch = current_epoch

    def _share(self, order: np.ndarray) -> np.ndarray:
        return np.array_split(order, self.geometry.world_size)[self.rank]

    def __iter__(self) -> Iterator[TrainingKey]:
        order = epoch_order(self.geometry.num_rows, seed=self.seed, epoch=self.epoch)
        for begin, end in self.geometry.batches(self.start):
            for row in self._share(order[begin:end]):
                yield TrainingKey(self.epoch, int(row))

    def __len__(self) -> int:
        """Samples of this rank in a whole epoch; the trainer counts those already done itself."""
        whole = np.arange(self.geometry.num_rows)
        return sum(len(self._share(whole[begin:end])) for begin, end in self.geometry.batches())

    def set_epoch(self, epoch: int) -> None:
        """Go to another epoch; called by Lightning before every epoch."""
        if self._current_epoch is not None:
            epoch = max(self._first_epoch, self._current_epoch())
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0


class PaddedOnceSampler(DistributedSampler[EvaluationKey]):
    """Every row once over all ranks; ranks with fewer rows get invalid ones to fill up.

    All ranks then take the same number of steps, which collective operations need.

    Args:
        num_rows: rows in the set.
        rank: of this process.
        world_size: number of ranks.
    """

    def __init__(self, num_rows: int, *, rank: int, world_size: int) -> None:
        super().__init__(
            range(num_rows),  # type: ignore[arg-type]
            num_replicas=world_size,
            rank=rank,
            shuffle=False,
        )
        self.num_rows = num_rows

    def __len__(self) -> int:
        return -(-self.num_rows // self.num_replicas)

    def __iter__(self) -> Iterator[EvaluationKey]:
        for step in range(len(self)):
            row = step * self.num_replicas + self.rank
            yield EvaluationKey(row, True) if row < self.num_rows else EvaluationKey(0, False)
