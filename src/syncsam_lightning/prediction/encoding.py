"""An image, encoded once for any number of prompts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from syncsam_lightning.data.resize import fit_image, put_into
from syncsam_lightning.geometry import ResizePlan
from syncsam_lightning.interaction import Feedback, InteractiveSession
from syncsam_lightning.models import ImageFeatures, PromptableModel
from syncsam_lightning.models.parts import decode_in_parts
from syncsam_lightning.prompts import Prompts

DECODED_AT_ONCE = 1 << 23
"""Pixels of the model's square, over all objects that are decoded together: 8 objects of a model of
1,024 pixels, 128 of one of 256. SAM's decoder takes 28 bytes for each."""


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
        """Answer prompts, at most :data:`DECODED_AT_ONCE` pixels at a time.

        Returns:
            ``(N, S/4, S/4)`` float32 mask logits.
        """
        decode = partial(self.model.decode, self.features)
        at_once = max(1, DECODED_AT_ONCE // self.plan.size**2)
        return decode_in_parts(decode, prompts, at_once=at_once).float()

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
