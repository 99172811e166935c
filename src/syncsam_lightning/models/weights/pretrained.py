"""Which pretrained weights a run begins with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from syncsam_lightning.models.promptable import PromptableModel
from syncsam_lightning.models.syncsam import SyncSAM
from syncsam_lightning.models.weights.frozen import initialise_frozen
from syncsam_lightning.models.weights.imagenet import load_imagenet_weights
from syncsam_lightning.models.weights.loading import load_weights
from syncsam_lightning.models.weights.report import LoadReport
from syncsam_lightning.models.weights.sam_checkpoint import find_sam_checkpoint

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
        return report
