"""Telling Lightning's loops where a resumed run stands."""

from __future__ import annotations

import warnings
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from syncsam_lightning.data.resume import Position
from syncsam_lightning.data.streaming import StreamingDataModule


class ResumeExactly(Callback):
    """Expresses a checkpoint's position in batches of the present batch size and world size.

    The datamodule goes on after the samples that were consumed; Lightning counts batches, and would
    end this epoch or the next too early or too late if these have another size now.
    """

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Rewrite the count of batches done in the epoch."""
        datamodule: Any = getattr(trainer, "datamodule", None)
        if not isinstance(datamodule, StreamingDataModule) or trainer.state.fn != "fit":
            return
        state = checkpoint.get(type(datamodule).__qualname__)
        if not state or "loops" not in checkpoint:
            return
        done = Position.from_state(state).batches_done(datamodule.geometry())
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        # The order resumes through the datamodule's state, which Lightning doesn't look for.
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable")
        shift = done - progress["current"]["processed"]
        for counts in (progress["current"], progress["total"]):
            for key in counts:
                counts[key] += shift
