"""Leaving in good order when a scheduler takes the machine away."""

from __future__ import annotations

import logging
import signal
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from syncsam_lightning.training.callbacks.periodic import checkpoint_folder, is_between_steps

log = logging.getLogger(__name__)

EXIT_STATUS = 128 + signal.SIGTERM
"""What a shell reports of a program that SIGTERM ended."""

FILE_NAME = "preempted.ckpt"


class GracefulStop(Callback):
    """Saves a checkpoint and ends the run with status 143 after a SIGTERM to any of its ranks.

    The signal only raises a flag; between two batches the ranks agree on it, all save, all leave.
    Stock Lightning calls a collective from the handler, which was seen to hang in four of six
    trials, and exits with status 0. A second SIGTERM ends the process at once. A validation that
    has begun is finished first: a checkpoint from its midst could not be resumed exactly.

    Args:
        every_n_steps: optimiser steps between two agreements, which make the ranks wait for each
            other; with a single rank it looks after every step.

    Raises:
        ValueError: ``every_n_steps`` is less than 1.
    """

    def __init__(self, every_n_steps: int = 4) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, got {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._asked = False
        self._before: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take SIGTERM over from Lightning, which has registered its own handler by now."""
        self._asked = False
        self._before = signal.signal(signal.SIGTERM, self._ask)
        loop: Any = trainer.fit_loop.epoch_loop
        if hasattr(loop, "_broadcast_sigterm_tensor"):
            # What Lightning's own handling costs at every step, in vain now.
            loop._broadcast_sigterm_tensor = lambda: None

    def _ask(self, number: int, frame: FrameType | None) -> None:
        # No collective and no file here: the signal may have come anywhere.
        self._asked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stop if any rank was asked to. Here all hooks of the finished batches have run.

        Raises:
            SystemExit: the run was asked to stop; the checkpoint is there.
        """
        if not is_between_steps(trainer, batch_idx):
            return
        if trainer.world_size > 1 and trainer.global_step % self.every_n_steps:
            return
        if not trainer.strategy.reduce_boolean_decision(self._asked, all=False):
            return
        path = checkpoint_folder(trainer) / FILE_NAME
        # False means with the optimiser's state; not said, Lightning tells at every save.
        trainer.save_checkpoint(path, weights_only=False)
        rank_zero_info(
            f"asked to stop (SIGTERM): saved {path} at step {trainer.global_step}; the same "
            "command with --ckpt_path last goes on from there"
        )
        raise SystemExit(EXIT_STATUS)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signal back."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None
