"""Encoding and decoding so that an answer does not depend on what else is in the batch.

A matrix product sums in another order when it has another number of rows. The last digits that
differ may turn a pixel on the edge of an answer, the next click then falls elsewhere, and the score
of a mask depends on the batch size and on the number of ranks. In parts of one size each image and
each object is computed the same way in any company.
"""

from __future__ import annotations

import torch
from torch import Tensor

from syncsam_lightning.models import ImageFeatures, PromptableModel
from syncsam_lightning.prompts import Prompts

OBJECTS_AT_ONCE = {"cpu": 8}
"""Size of a part by type of device: a CPU takes as much longer as there are repetitions in it."""

ON_ACCELERATORS = 64
"""Size of a part on any other device: below it an accelerator waits for its own launches."""


def encode_evenly(model: PromptableModel, images: Tensor, sizes: Tensor) -> ImageFeatures:
    """Return the features of images, on a CPU encoded one by one.

    An accelerator takes them all at once, since one image would not fill it: there the last digits
    may depend on the batch size.

    Args:
        model: in eval mode.
        images: ``(B, 3, S, S)``, see :meth:`PromptableModel.encode`.
        sizes: ``(B, 2)`` int64.
    """
    if images.device.type != "cpu" or len(images) < 2:
        return model.encode(images, sizes)
    return ImageFeatures.joined(
        [model.encode(images[i : i + 1], sizes[i : i + 1]) for i in range(len(images))]
    )


def decode_evenly(model: PromptableModel, features: ImageFeatures, prompts: Prompts) -> Tensor:
    """Return a model's answers, decoded in parts of one size.

    The last part is filled up with repetitions.

    Args:
        model: in eval mode.
        features: of B images.
        prompts: of N objects on them.

    Returns:
        ``(N, S/4, S/4)`` float mask logits.

    Raises:
        UnsupportedPromptError: the model does not understand a kind of prompt it was given.
    """
    device = prompts.image_index.device
    size = OBJECTS_AT_ONCE.get(device.type, ON_ACCELERATORS)
    answers = []
    for begin in range(0, prompts.num_objects, size):
        members = torch.arange(begin, begin + size, device=device)
        is_own = members < prompts.num_objects
        part = prompts[torch.where(is_own, members, begin)]
        answers.append(model.decode(features, part)[: prompts.num_objects - begin])
    return torch.cat(answers) if answers else model.decode(features, prompts)
