"""IMIS-Net as a :class:`PromptableModel`.

Source: Cheng et al., "Interactive Medical Image Segmentation: A Benchmark Dataset and Baseline"
(CVPR 2025), and the names and shapes of its official weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor

from syncsam_lightning.models.baselines.imis.decoder import IMISMaskDecoder
from syncsam_lightning.models.baselines.imis.encoder import IMISImageEncoder
from syncsam_lightning.models.baselines.imis.layouts import LAYOUTS
from syncsam_lightning.models.baselines.sam import check_choices
from syncsam_lightning.models.baselines.sam_decoder import MaskCandidates
from syncsam_lightning.models.normalisation import SAMNormalisation
from syncsam_lightning.models.parts import decode_in_parts
from syncsam_lightning.models.promptable import (
    ImageFeatures,
    InputSpec,
    PromptableModel,
    ScoredMasks,
)
from syncsam_lightning.models.syncsam.initialisation import initialise_decoder, initialise_vit
from syncsam_lightning.models.syncsam.prompt_encoder import BatchedPromptEncoder
from syncsam_lightning.models.vit import ViTShape
from syncsam_lightning.prompts import Prompts

FrozenPart = Literal["vit", "neck", "prompt_encoder", "decoder"]
_MODULES: dict[FrozenPart, str] = {
    "vit": "image_encoder.vit",
    "neck": "image_encoder.neck",
    "prompt_encoder": "prompt_encoder",
    "decoder": "mask_decoder",
}

# Decoding an object at 1024 pixels takes about 70 MB for the moment.
_PIXELS_AT_ONCE = 16 * 1024**2


class IMISNet(PromptableModel):
    """IMIS-Net ViT-B for boxes, points and masks; text prompts are not supported.

    The image is stretched to the square and normalised as SAM does. The answer is, of three
    masks, the one of the highest predicted IoU. As published, the ViT is SAM's and stays frozen.

    Weights start random; see :func:`syncsam_lightning.models.load_weights`, which reads the
    official file and reports its text tower as unused.

    Args:
        image_size: side S of the square input in pixels, a multiple of 16. Published: 1024.
        frozen: what is not trained.
        embed_dim: channels of the image embedding and of prompt tokens, a multiple of 16.
        vit_width: channels of the ViT's tokens.
        vit_depth: number of its blocks in four stages; the last of each attends globally.
        vit_heads: attention heads of each block.
        window_size: side of the windows of the other blocks, in tokens.

    Raises:
        ValueError: a size doesn't fit, or ``frozen`` names an unknown part.
    """

    image_fit = "stretch"
    layouts = LAYOUTS
    begins_with_sam = True

    def __init__(
        self,
        *,
        image_size: int = 1024,
        frozen: Sequence[FrozenPart] = ("vit",),
        embed_dim: int = 768,
        vit_width: int = 768,
        vit_depth: int = 12,
        vit_heads: int = 12,
        window_size: int = 14,
    ) -> None:
        super().__init__()
        check_choices("frozen", frozen, FrozenPart)
        if embed_dim < 1 or embed_dim % 16:
            raise ValueError(f"embed_dim must be a multiple of 16, got {embed_dim}")
        shape = ViTShape(
            image_size=image_size,
            vit_width=vit_width,
            vit_depth=vit_depth,
            vit_heads=vit_heads,
            window_size=window_size,
        )
        self.input_spec = InputSpec(
            size=image_size,
            prompts=frozenset({"boxes", "points", "masks"}),
            mask_size=image_size // 4,
            fit=self.image_fit,
        )
        self.normalise = SAMNormalisation(image_size, self.image_fit)
        self.image_encoder = IMISImageEncoder(shape, embed_dim)
        self.prompt_encoder = BatchedPromptEncoder(image_size, embed_dim)
        self.mask_decoder = IMISMaskDecoder(embed_dim)
        initialise_vit(self.image_encoder.vit)
        initialise_decoder(self.mask_decoder)
        self.freeze(_MODULES[part] for part in frozen)
        # What no answer depends on: DistributedDataParallel would wait for its gradient.
        self.freeze(f"mask_decoder.{part}" for part in IMISMaskDecoder.idle_parts)

    def encode(self, images: Tensor, sizes: Tensor | None = None) -> ImageFeatures:
        """See :meth:`PromptableModel.encode`."""
        self.check_images(images, sizes)
        return ImageFeatures(self.image_encoder(self.normalise(images, sizes)))

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        """See :meth:`PromptableModel.decode`.

        Without gradients the objects are decoded a few at a time, since each needs much memory.

        Raises:
            UnsupportedPromptError: there is no prompt.
            ValueError: the previous masks are not ``(N, S/4, S/4)``.
        """
        self.check_prompts(prompts)
        return decode_in_parts(
            lambda part: self.decode_scored(features, part).tied_logits(),
            prompts,
            at_once=max(1, _PIXELS_AT_ONCE // self.input_spec.size**2),
        )

    def decode_scored(self, features: ImageFeatures, prompts: Prompts) -> ScoredMasks:
        """See :meth:`PromptableModel.decode_scored`.

        Raises:
            UnsupportedPromptError: as :meth:`decode`.
            ValueError: as :meth:`decode`.
        """
        # IMIS-Net takes every prompt for one that could mean several things.
        ambiguous = torch.ones_like(prompts.image_index, dtype=torch.bool)
        return self.candidates(features, prompts).best(ambiguous)

    def candidates(self, features: ImageFeatures, prompts: Prompts) -> MaskCandidates:
        """Return four masks for each of N objects, of which the first is never the answer.

        Raises:
            UnsupportedPromptError: as :meth:`decode`.
            ValueError: as :meth:`decode`.
        """
        self.check_prompts(prompts)
        sparse, dense = self.prompt_encoder.encode(prompts)
        positions = self.prompt_encoder.dense_positions()
        candidates = self.mask_decoder(
            features.embedding, prompts.image_index, sparse, dense, positions
        )
        return cast(MaskCandidates, candidates)
