"""Which pretrained weights a run begins with."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from syncsam_lightning.models.promptable import PromptableModel
from syncsam_lightning.models.weights.frozen import initialise_frozen
from syncsam_lightning.models.weights.imagenet import load_imagenet_weights
from syncsam_lightning.models.weights.loading import load_weights
from syncsam_lightning.models.weights.report import LoadReport
from syncsam_lightning.models.weights.sam_checkpoint import find_sam_checkpoint

log = logging.getLogger(__name__)
AUTO = "auto"
NONE = "none"


@dataclass(frozen=True, slots=True)
class PretrainedWeights:
    """Where pretrained weights come from.

    Which of them concern a model, the model says itself
    (:attr:`~syncsam_lightning.models.PromptableModel.begins_with_sam` and ``imagenet_part``).

    Args:
        sam: ``auto``, a path, or ``none``.
        cnn: ``imagenet`` or ``none``.
        whole: the network's own weights, which are loaded over the others: a path or what else
            ``find`` takes, ``auto`` for SAM's official file, or None.
        find: turns what ``whole`` names into the path of a file, such as a repository of a hub,
            which models know nothing of.
    """

    sam: str
    cnn: Literal["imagenet", "none"]
    whole: str | None = None
    find: Callable[[str], Path] = Path

    def fetch(self, model: PromptableModel, *, begins: bool, untrained: bool) -> None:
        """Download what :meth:`load` will need and isn't there.

        Args:
            model: that will be given the weights.
            begins: see :meth:`load`.
            untrained: see :meth:`load`.
        """
        if self._needs_sam(model, begins):
            find_sam_checkpoint(self.sam)
        if self.whole is not None and (untrained or model.frozen_keys()):
            self._find(self.whole)
        if self._needs_imagenet(model, begins):
            load_imagenet_weights(model)

    def load(self, model: PromptableModel, *, begins: bool, untrained: bool) -> None:
        """Load what a stage needs.

        Frozen weights are not in checkpoints, so they are loaded for every stage. Everything else
        is left alone once it has been trained, or loaded by hand.

        Args:
            model: is changed in place.
            begins: whether a training begins that resumes no other.
            untrained: whether the model has neither been trained nor restored from a checkpoint;
                its whole weights are then loaded for a test too.

        Raises:
            WeightsError: weights are not to be had; the message says what to do.
        """
        has_frozen = bool(model.frozen_keys())
        if self._needs_sam(model, begins):
            report = _load(model, find_sam_checkpoint(self.sam), frozen_only=not begins)
            log.info("SAM: %s", report.summary())
            # What is frozen because nothing computes it need not be in SAM's file.
            initialise_frozen(model, seed=0, keys=model.frozen_keys().intersection(report.missing))
        elif has_frozen:
            # The same random values every time, or no checkpoint could be resumed or tested.
            initialise_frozen(model, seed=0)
            if self.whole is None:
                log.warning(
                    "%s: the frozen parts hold random weights. Good for trying things out, "
                    "not for results",
                    self._why_no_sam(model),
                )
        if self._needs_imagenet(model, begins):
            log.info("CNN: %s", load_imagenet_weights(model).summary())
        if self.whole is not None and (untrained or has_frozen):
            report = _load(model, self._find(self.whole), frozen_only=not untrained)
            # What is missing keeps its random start: the numbers of a test would mean nothing.
            doubtful = untrained and (report.missing or report.unexpected)
            log.log(
                logging.WARNING if doubtful else logging.INFO,
                "weights: %s%s",
                report.summary(),
                "; is this the file of another model?" if doubtful else "",
            )

    def _find(self, whole: str) -> Path:
        return find_sam_checkpoint(AUTO) if whole == AUTO else self.find(whole)

    def _why_no_sam(self, model: PromptableModel) -> str:
        if model.begins_with_sam:
            return "sam_checkpoint is none"
        return f"{type(model).__name__} has no weights of SAM's, and no other weights are given"

    def _needs_imagenet(self, model: PromptableModel, begins: bool) -> bool:
        part = model.imagenet_part
        if part is None or self.cnn != "imagenet":
            return False
        return begins or any(key.startswith(f"{part}.") for key in model.frozen_keys())

    def _needs_sam(self, model: PromptableModel, begins: bool) -> bool:
        return model.begins_with_sam and self.sam != NONE and (begins or bool(model.frozen_keys()))


def _load(model: PromptableModel, path: str | os.PathLike[str], *, frozen_only: bool) -> LoadReport:
    frozen = model.frozen_keys()
    kept = {
        key: value.clone()
        for key, value in model.state_dict().items()
        if frozen_only and key not in frozen
    }
    report = load_weights(model, path)
    model.load_state_dict(kept, strict=False)
    return report
