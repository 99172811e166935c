"""Which pretrained weights a run begins with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from syncsam_lightning.models import (
    PromptableModel,
    SyncSAM,
    find_sam_checkpoint,
    initialise_frozen,
    load_imagenet_weights,
    load_weights,
)

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

    def fetch(self, model: PromptableModel) -> None:
        """Download SAM's checkpoint if it will be needed and isn't there."""
        if self.sam != NONE and model.frozen_keys():
            find_sam_checkpoint(self.sam)

    def load(self, model: PromptableModel, *, begins: bool) -> None:
        """Load what a stage needs.

        Frozen weights are not in checkpoints, so they are loaded for every stage. Everything else
        only when a training begins: a checkpoint has it afterwards.

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
            report = load_weights(model, find_sam_checkpoint(self.sam))
            log.info("SAM: %s", report.summary())
        if begins and self.cnn == "imagenet" and isinstance(model, SyncSAM):
            log.info("CNN: %s", load_imagenet_weights(model).summary())
