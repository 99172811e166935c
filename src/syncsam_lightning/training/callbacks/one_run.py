"""One run at a time in a folder."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from syncsam_lightning.training.folder_lock import FolderInUseError, FolderLock


class OneRunPerFolder(Callback):
    """Refuses to fit or to test where another run that is still going writes to.

    Two of them would replace each other's checkpoints and results. The ranks of one
    run are one: the first locks, and all end if it can't. A run that was killed is in nobody's way.
    """

    def __init__(self) -> None:
        self._locks: list[FolderLock] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lock the folders that the run will write to, before anything is written.

        Raises:
            FolderInUseError: another run writes to one of them.
        """
        refusal = ""
        try:
            for folder in sorted(_folders(trainer, stage)):
                self._locks.append(FolderLock(folder))
        except FolderInUseError as error:
            refusal = str(error)
        if refusal := trainer.strategy.broadcast(refusal):
            self._release()
            raise FolderInUseError(refusal)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let others in."""
        self._release()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Let others in."""
        self._release()

    def _release(self) -> None:
        while self._locks:
            self._locks.pop().release()


def _folders(trainer: Trainer, stage: str) -> set[Path]:
    log_dir = trainer.log_dir  # a collective
    if trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
        return set()
    if stage == "test":
        return {Path(log_dir or trainer.default_root_dir, "test").absolute()}
    if stage == "fit":
        given = (getattr(callback, "dirpath", None) for callback in trainer.checkpoint_callbacks)
        return {Path(folder or _default_folder(trainer)).absolute() for folder in given}
    return set()


def _default_folder(trainer: Trainer) -> Path:
    """Return where Lightning will let the checkpoints lie that have no ``dirpath`` yet."""
    if not trainer.loggers:
        return Path(trainer.default_root_dir, "checkpoints")
    logger = trainer.loggers[0]
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    root = logger.save_dir or trainer.default_root_dir
    return Path(root, str(logger.name), version, "checkpoints")
