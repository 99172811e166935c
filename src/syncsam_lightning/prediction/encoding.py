"""An image, encoded once for any number of prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from syncsam_lightning.data.resize import fit_image, put_into
from syncsam_lightning.geometry import ResizePlan
from syncsam_lightning.interaction import Feedback, InteractiveSession
from syncsam_lightning.models import ImageFeatures, PromptableModel
from syncsam_lightning.prompts import Prompts


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """What a model knows of an image before it is prompted.

    Args:
        model: that encoded it.
        features: of this one image.
        plan: how the image lies in the model's square.
    """

    model: PromptableModel
    features: ImageFeatures
    plan: ResizePlan

    def decode(self, prompts: Prompts) -> Tensor:
        """Answer prompts; ``(N, S/4, S/4)`` float32 mask logits."""
        return self.model.decode(self.features, prompts).float()

    def session(self, feedback: Feedback = "logits") -> InteractiveSession:
        """Begin a session with this image; several may run beside each other.

        Args:
            feedback: how answers are given back, if the model takes masks.
        """
        takes_masks = "masks" in self.model.input_spec.prompts
        return InteractiveSession(
            self.decode,
            self.plan,
            feedback=feedback if takes_masks else None,
            device=self.features.embedding.device,
        )


@torch.inference_mode()
def encode_image(model: PromptableModel, pixels: np.ndarray) -> EncodedImage:
    """Encode an image as evaluation does.

    Args:
        model: in eval mode.
        pixels: ``(H, W, 3)`` uint8 RGB.
    """
    plan = model.input_spec.plan(*pixels.shape[:2])
    square = np.empty((1, 3, plan.size, plan.size), np.uint8)
    put_into(square[0], fit_image(pixels, plan).transpose(2, 0, 1), plan)
    device = next(model.parameters()).device
    images, sizes = torch.from_numpy(square).to(device), torch.tensor([plan.resized], device=device)
    return EncodedImage(model, model.encode(images, sizes), plan)
