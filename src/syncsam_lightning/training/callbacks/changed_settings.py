"""Telling what a run that goes on from a checkpoint does otherwise than the run that wrote it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from syncsam_lightning.data.resume import ResumeError

log = logging.getLogger(__name__)

_DATA_CLASS = "_class_path"
# Where things lie and how fast they go, which change no result.
_OF_NO_ACCOUNT = frozenset(
    {"root", "table", "storage_options", "num_workers", "sam_checkpoint", "weights", "compile"}
)
# Restored with the state of optimiser and schedules.
_KEPT = frozenset({"model.lr", "model.lr_milestones", "model.lr_gamma", "model.warmup_steps"})


class ChangedSettings(Callback):
    """Names the settings that differ from a checkpoint's when a fit goes on from it."""

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Compare settings.

        Raises:
            ResumeError: the data are another datamodule's.
        """
        if trainer.state.fn != "fit":
            return
        model = checkpoint.get("hyper_parameters", {}), dict(pl_module.hparams)
        datamodule: Any = getattr(trainer, "datamodule", None)
        data = (
            checkpoint.get("datamodule_hyper_parameters", {}),
            dict(getattr(datamodule, "hparams", {})),
        )
        before, now = (settings.get(_DATA_CLASS) for settings in data)
        if before and now and before != now:
            raise ResumeError(
                f"the checkpoint's run was trained on {before}, this one has {now}: a run goes on "
                "with its own data only; begin a new one from the weights (--model.weights, after "
                "`syncsam export weights`)"
            )
        changed = [
            change
            for part, (old, new) in (("model", model), ("data", data))
            for change in differences(old, new, part)
        ]
        _tell(changed)


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, old and new value of what differs between nested settings.

    Only what both have is compared: another version may know other settings.
    """
    for key in old.keys() & new.keys():
        name, before, now = f"{prefix}.{key}", old[key], new[key]
        if key in _OF_NO_ACCOUNT or key.startswith("_"):
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from differences(before, now, name)
        elif _plain(before) != _plain(now):
            yield name, before, now


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@rank_zero_only
def _tell(changed: list[tuple[str, Any, Any]]) -> None:
    for name, before, now in sorted(changed, key=lambda change: change[0]):
        log.warning(
            "%s was %s in the run that wrote the checkpoint and is %s now: %s",
            name,
            before,
            now,
            "the checkpoint's value counts, which the optimiser and its schedules bring with them"
            if name in _KEPT
            else "the new value counts from here on",
        )
