"""Checkpoints that are never half-written, and read as plain values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from syncsam_lightning.errors import CheckpointError, WeightsError
from syncsam_lightning.models.weights.checkpoint_file import read_checkpoint
from syncsam_lightning.models.weights.numpy_numbers import numpy_numbers
from syncsam_lightning.whole_files import whole_file

# Which function rebuilds the module, in a checkpoint of Lightning's command line. Before 2.6.6
# Lightning called whatever is named here.
_INSTANTIATOR = "_instantiator"
_LIGHTNINGS_OWN = "lightning.pytorch.cli.instantiate_module"


class LoadedAsValues:
    """Gives a LightningModule a ``load_from_checkpoint`` that runs nothing that a file names."""

    @classmethod
    def load_from_checkpoint(
        cls, checkpoint_path: str | os.PathLike[str], *args: Any, **kwargs: Any
    ) -> Any:
        """Load a module, see ``LightningModule.load_from_checkpoint``.

        Args:
            checkpoint_path: of the file, or its address.
            args: of Lightning's method.
            kwargs: of Lightning's method, and arguments of the class. ``weights_only`` is true
                whatever is given.

        Raises:
            WeightsError: the file can't be read, or holds or names code that would be run.
            pickle.UnpicklingError: the same, of a file at an address.
        """
        path = os.fspath(checkpoint_path)
        content = (
            AtomicCheckpointIO().load_checkpoint(path)
            if "://" in path
            else read_checkpoint(Path(path))
        )
        settings = content.get("hyper_parameters") if isinstance(content, Mapping) else None
        named = settings.get(_INSTANTIATOR) if isinstance(settings, Mapping) else None
        if named not in (None, _LIGHTNINGS_OWN):
            raise WeightsError(
                f"{path} names a function to be called, {named!r}, so it was not loaded: "
                "syncsam_lightning.models.load_weights reads its weights alone"
            )
        kwargs["weights_only"] = True
        loaded: Any = super()
        with torch.serialization.safe_globals(numpy_numbers()):
            return loaded.load_from_checkpoint(path, *args, **kwargs)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints written whole, and read without executing what they hold.

    Writes beside the target, forces to disk, renames: a kill leaves the previous file whole.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Save a checkpoint.

        Args:
            checkpoint: what to save.
            path: of the file; its folder is made if need be.
            storage_options: not supported.

        Raises:
            CheckpointError: it could not be written; an earlier file of this name is whole.
        """
        target = Path(os.fspath(path))
        try:
            self._write(checkpoint, target)
        except (OSError, RuntimeError) as error:  # torch tells a full disk as either
            raise CheckpointError(
                f"the checkpoint {target} could not be written ({error}): is the disk full? "
                "Checkpoints that were there are whole; --ckpt_path last goes on from the newest"
            ) from error

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load a checkpoint; nothing that it holds is executed.

        Args:
            path: of the file, or its address.
            map_location: as :func:`torch.load` takes it.
            weights_only: anything but False admits plain values and tensors only. Lightning's own
                default would unpickle whatever an address serves.

        Raises:
            pickle.UnpicklingError: it holds more than plain values and tensors.
        """
        safe = True if weights_only is None else weights_only
        with torch.serialization.safe_globals(numpy_numbers()):
            loaded: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only=safe)
        return loaded

    @staticmethod
    def _write(checkpoint: dict[str, Any], target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as file:
            torch.save(checkpoint, file)
