"""The best checkpoint of a run, however often it is taken up again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info


class BestCheckpoint(ModelCheckpoint):
    """Lightning's ``ModelCheckpoint``, remembering what a run had kept before it was resumed.

    Every start of a run writes into a folder of its own, in which the stock class would begin anew:
    the best since the last start would pass for the best of the run. Here a checkpoint is written
    after a restart only if it is better than those of all earlier starts.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was kept before; anew, as the stock class, where a file of it is gone."""
        if all(Path(path).is_file() for path in state_dict.get("best_k_models", {})):
            # Told of another folder, the stock class would forget.
            state_dict = {**state_dict, "dirpath": self.dirpath}
        super().load_state_dict(state_dict)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell where the best checkpoint lies, which may be the folder of an earlier start."""
        if self.best_model_score is not None:
            score = f"{self.monitor} {float(self.best_model_score):.4f}"
            rank_zero_info(f"the best checkpoint of the run, with {score}: {self.best_model_path}")
