"""Keeping the complete settings of a run beside its results."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback

RUN_CONFIG = "run_config.yaml"
"""Name of the file; `syncsam fit --config .../run_config.yaml` repeats the run."""


class SaveRunConfig(SaveConfigCallback):
    """Write the settings into the folder of the run, replacing those of an earlier run there.

    Stock Lightning ends the run when the file exists, even if that file is the very config the run
    was started from. Here such an input is left as it is, since it was the user who wrote it.

    Args:
        inputs: config files that this run was started from.
        kwargs: see :class:`lightning.pytorch.cli.SaveConfigCallback`.
    """

    def __init__(self, *args: object, inputs: tuple[str, ...] = (), **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._inputs = {Path(path).resolve() for path in inputs}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file once, on the first rank."""
        folder = trainer.log_dir  # broadcasts, so every rank must ask
        if folder and (Path(folder) / self.config_filename).resolve() in self._inputs:
            return
        super().setup(trainer, pl_module, stage)
