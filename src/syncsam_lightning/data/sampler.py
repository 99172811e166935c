"""Handing the order of samples to ranks and workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from torch.utils.data.distributed import DistributedSampler

from syncsam_lightning.data.order import EpochOrder


class TrainingKey(NamedTuple):
    """What the training set is asked for. It carries the epoch: workers have no state.

    ``repeat`` tells apart the visits of a row that comes more than once in an epoch.
    """

    epoch: int
    row: int
    repeat: int = 0

    @property
    def valid(self) -> bool:
        """True: no training row only fills up."""
        return True


class EvaluationKey(NamedTuple):
    """What an evaluation set is asked for; ``valid`` is False for rows that only fill up."""

    row: int
    valid: bool


@dataclass(frozen=True, slots=True)
class BatchGeometry:
    """How an epoch is cut into global batches, one share of each for every rank.

    Args:
        num_samples: of an epoch.
        batch_size: images per rank and step.
        world_size: number of ranks.
    """

    num_samples: int
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
            (begin, min(begin + self.global_batch, self.num_samples))
            for begin in range(start, self.num_samples, self.global_batch)
        ]
        return [(begin, end) for begin, end in cuts if end - begin >= self.world_size]

    @property
    def left_out(self) -> int:
        """Samples at the end of a whole epoch that are dropped; less than ``world_size``."""
        cuts = self.batches()
        return self.num_samples - (cuts[-1][1] if cuts else 0)


class GlobalOrderSampler(DistributedSampler[TrainingKey]):
    """One order per epoch for all ranks, resumable at any count of consumed samples.

    The order does not depend on the number of ranks, so a run may resume on another.

    Args:
        geometry: samples, batch size and world size.
        rank: of this process.
        seed: of the order.
        order: which rows an epoch visits; None: each of ``geometry.num_samples`` rows once.
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
        order: EpochOrder | None = None,
        epoch: int = 0,
        start: int = 0,
        current_epoch: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(
            range(geometry.num_samples),  # type: ignore[arg-type]
            num_replicas=geometry.world_size,
            rank=rank,
            seed=seed,
        )
        self.geometry = geometry
        self.order = order or EpochOrder.uniform(geometry.num_samples)
        self.epoch, self.start = epoch, start
        self._first_epoch = epoch
        self._current_epoch = current_epoch

    def _share(self, begin: int, end: int) -> slice:
        """Return this rank's part of a global batch; the first ranks take one more if need be."""
        size, more = divmod(end - begin, self.geometry.world_size)
        first = begin + self.rank * size + min(self.rank, more)
        return slice(first, first + size + (self.rank < more))

    def __iter__(self) -> Iterator[TrainingKey]:
        visits = self.order.epoch(self.seed, self.epoch)
        for begin, end in self.geometry.batches(self.start):
            share = self._share(begin, end)
            rows, repeats = visits.rows[share].tolist(), visits.repeats[share].tolist()
            for row, repeat in zip(rows, repeats, strict=True):
                yield TrainingKey(self.epoch, row, repeat)

    def __len__(self) -> int:
        """Samples of this rank in a whole epoch; the trainer counts those already done itself."""
        shares = (self._share(begin, end) for begin, end in self.geometry.batches())
        return sum(share.stop - share.start for share in shares)

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
