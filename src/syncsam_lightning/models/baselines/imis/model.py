"""IMIS-Net as a :class:`PromptableModel`.

Source: Cheng et al., "Interactive Medical Image Segmentation: A Benchmark Dataset and Baseline"
(CVPR 2025), and the names and shapes of its official weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from syncsam_lightning.geometry import Fit
from syncsam_lightning.models.baselines.imis.decoder import IMISMaskDecoder, MaskCandidates
from syncsam_lightning.models.baselines.imis.encoder import IMISImageEncoder
from syncsam_lightning.models.pixels import check_images, normalise_as_sam
from syncsam_lightning.models.promptable import ImageFeatures, InputSpec, PromptableModel
from syncsam_lightning.models.syncsam.architecture import Architecture
from syncsam_lightning.models.syncsam.initialisation import initialise_decoder, initialise_vit
from syncsam_lightning.models.syncsam.prompt_encoder import BatchedPromptEncoder
from syncsam_lightning.prompts import Prompts

FrozenPart = Literal["vit", "neck", "prompt_encoder", "decoder"]

# Decoding an object at 1024 pixels takes about 70 MB for the moment.
_PIXELS_AT_ONCE = 16 * 1024**2


class IMISNet(PromptableModel):
    """IMIS-Net ViT-B for boxes, points and masks; text prompts are not supported.

    The image is stretched to the square and normalised as SAM does. The answer is, of three
    masks, the one of the highest predicted IoU. As published, the ViT is SAM's and stays frozen.
    The head that predicts the IoU is frozen too, since no loss of this package reaches it.

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

    image_fit: ClassVar[Fit] = "stretch"
    parts_from_sam: ClassVar[tuple[str, ...]] = ("image_encoder.vit.",)

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
        if embed_dim < 1 or embed_dim % 16:
            raise ValueError(f"embed_dim must be a multiple of 16, got {embed_dim}")
        architecture = Architecture(
            cnn="none",
            multi_scale=False,
            image_size=image_size,
            vit_width=vit_width,
            vit_depth=vit_depth,
            vit_heads=vit_heads,
            window_size=window_size,
        )
        self.input_spec = InputSpec(
            size=image_size,
            prompts=frozenset({"boxes", "points", "masks"}),
            mask_size=architecture.mask_size,
            fit=self.image_fit,
        )
        self.image_encoder = IMISImageEncoder(architecture, embed_dim)
        self.prompt_encoder = BatchedPromptEncoder(architecture, embed_dim)
        self.mask_decoder = IMISMaskDecoder(embed_dim)
        initialise_vit(self.image_encoder.vit)
        initialise_decoder(self.mask_decoder)
        self.freeze(_frozen_modules(frozen))

    def encode(self, images: Tensor, sizes: Tensor | None = None) -> ImageFeatures:
        """See :meth:`PromptableModel.encode`.

        Raises:
            ValueError: the images are not ``(B, 3, S, S)``, or ``sizes`` is not ``(B, 2)``.
        """
        check_images(images, sizes, self.input_spec.size)
        dtype = self.image_encoder.vit.pos_embed.dtype
        return ImageFeatures(self.image_encoder(normalise_as_sam(images, sizes, dtype)))

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        """See :meth:`PromptableModel.decode`.

        Outside training the objects are decoded a few at a time, since each needs much memory.

        Raises:
            UnsupportedPromptError: there is no prompt.
            ValueError: the previous masks are not ``(N, S/4, S/4)``.
        """
        self.check_prompts(prompts)
        at_once = max(1, _PIXELS_AT_ONCE // self.input_spec.size**2)
        if torch.is_grad_enabled() or prompts.num_objects <= at_once:
            return self.candidates(features, prompts).best()
        parts = range(0, prompts.num_objects, at_once)
        return torch.cat(
            [self.candidates(features, prompts[i : i + at_once]).best() for i in parts]
        )

    def candidates(self, features: ImageFeatures, prompts: Prompts) -> MaskCandidates:
        """Predict three masks for each of N objects; arguments as of :meth:`decode`."""
        sparse, dense = self.prompt_encoder.encode(prompts)
        candidates: MaskCandidates = self.mask_decoder(
            features.embedding,
            prompts.image_index,
            sparse,
            dense,
            self.prompt_encoder.dense_positions(),
        )
        return candidates


def _frozen_modules(frozen: Sequence[FrozenPart]) -> list[str]:
    if isinstance(frozen, str):
        raise ValueError(f"frozen must be a list of parts, got the text {frozen!r}")
    modules = {
        "vit": "image_encoder.vit",
        "neck": "image_encoder.neck",
        "prompt_encoder": "prompt_encoder",
        "decoder": "mask_decoder",
    }
    for part in frozen:
        if part not in modules:
            raise ValueError(
                f"frozen: unknown part {part!r}; choose from {', '.join(get_args(FrozenPart))}"
            )
    # What no gradient reaches: DistributedDataParallel would wait for it.
    never = ("iou_prediction_head", *IMISMaskDecoder.unused_parts)
    return [modules[part] for part in frozen] + [f"mask_decoder.{part}" for part in never]
