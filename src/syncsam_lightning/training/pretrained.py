"""Which pretrained weights a run begins with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from syncsam_lightning.models import (
    LoadReport,
    PromptableModel,
    SyncSAM,
    find_sam_checkpoint,
    initialise_frozen,
    load_imagenet_weights,
    load_weights,
)
from syncsam_lightning.models.weights.report import abridge

log = logging.getLogger(__name__)
NONE = "none"


@dataclass(frozen=True, slots=True)
class PretrainedWeights:
    """Where pretrained weights come from.

    Args:
        sam: ``auto``, a path, or ``none``.
        cnn: ``imagenet`` or ``none``.
    """

    sam: str
    cnn: Literal["imagenet", "none"]

    def fetch(self, model: PromptableModel, *, begins: bool) -> None:
        """Download what :meth:`load` will need and isn't there.

        Args:
            model: that will be given the weights.
            begins: see :meth:`load`.
        """
        if self.sam != NONE and (begins or model.frozen_keys()):
            find_sam_checkpoint(self.sam)
        if begins and self.cnn == "imagenet" and isinstance(model, SyncSAM):
            load_imagenet_weights(model)

    def load(self, model: PromptableModel, *, begins: bool) -> None:
        """Load what a stage needs.

        Frozen weights are not in checkpoints, so they are loaded for every stage. Everything else
        only when a training begins, and is left alone otherwise: it has been trained.

        Args:
            model: is changed in place.
            begins: whether a training begins that resumes no other.

        Raises:
            WeightsError: weights are not to be had; the message says what to do.
        """
        has_frozen = bool(model.frozen_keys())
        if self.sam == NONE:
            if has_frozen:
                # The same random values every time, or no checkpoint could be resumed or tested.
                initialise_frozen(model, seed=0)
                log.warning(
                    "sam_checkpoint is none: the frozen parts hold random weights. Good for trying "
                    "things out, not for results"
                )
        elif has_frozen or begins:
            report = self._load_sam(model, frozen_only=not begins)
            log.info("SAM: %s", report.summary())
        if begins and self.cnn == "imagenet" and isinstance(model, SyncSAM):
            log.info("CNN: %s", load_imagenet_weights(model).summary())

    def _load_sam(self, model: PromptableModel, *, frozen_only: bool) -> LoadReport:
        frozen = model.frozen_keys()
        kept = {
            key: value.clone()
            for key, value in model.state_dict().items()
            if frozen_only and key not in frozen
        }
        report = load_weights(model, find_sam_checkpoint(self.sam))
        model.load_state_dict(kept, strict=False)
        missing = frozen.intersection(report.missing)
        if self.cnn == "imagenet" and model.imagenet_part is not None:
            missing = {key for key in missing if not key.startswith(f"{model.imagenet_part}.")}
        if missing:
            # Not in the file, and not in checkpoints either: the same random values every time.
            initialise_frozen(model, seed=0, keys=missing)
            log.warning(
                "%d frozen tensors are not in sam_checkpoint and hold random weights (%s); give a "
                "file of this very model if there is one",
                len(missing),
                abridge(tuple(sorted(missing))),
            )
        return report
