"""SyncSAM as a :class:`PromptableModel`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from syncsam_lightning.models.promptable import ImageFeatures, InputSpec, PromptableModel
from syncsam_lightning.models.syncsam.architecture import (
    Architecture,
    CNNName,
    FrozenPart,
    Fusion,
    ViTMode,
)
from syncsam_lightning.models.syncsam.decoder import MedTokenDecoder, SAMTokenDecoder
from syncsam_lightning.models.syncsam.encoder import DualBranchEncoder
from syncsam_lightning.models.syncsam.initialisation import (
    initialise_convolutions,
    initialise_decoder,
    initialise_vit,
)
from syncsam_lightning.models.syncsam.prompt_encoder import BatchedPromptEncoder
from syncsam_lightning.prompts import Prompts

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


class SyncSAM(PromptableModel):
    """SyncSAM and its ablations (paper, section 2 and table 5).

    Weights start random; see :func:`syncsam_lightning.models.load_weights` and
    :func:`syncsam_lightning.models.load_imagenet_weights`.

    Args:
        cnn: the CNN branch, or ``"none"``.
        vit: ``"frozen"`` keeps SAM's ViT and neck as they are; ``"trained"`` trains both;
            ``"none"`` leaves the ViT out (the neck stays and is trained).
        fusion: ``"synchronized"`` adds the CNN's map in each of the four stages;
            ``"single_step"`` adds all of them once, before the neck. Without a CNN there is
            nothing to fuse.
        med_token: predict with the trained Med-Output token; False: with SAM's own mask token.
        multi_scale: give the decoder the outputs of all stages, not of the last alone.
        frozen: further parts that are not trained. ``"decoder"`` means what the decoder has from
            SAM: the transformer and output upscaling, and without ``med_token`` SAM's tokens and
            their networks.
        image_size: side S of the square input in pixels; a multiple of 16, with a CNN of 32.
        vit_width: channels of the tokens; also what the adapters and bridges are built for.
        vit_depth: number of blocks in the four stages together; the last of each is global.
        vit_heads: attention heads of each block.
        window_size: side of the windows of the other blocks, in tokens.

    Raises:
        ValueError: a value is unknown, or two arguments make each other meaningless.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        *,
        cnn: CNNName = "resnet34",
        vit: ViTMode = "frozen",
        fusion: Fusion = "synchronized",
        med_token: bool = True,
        multi_scale: bool = True,
        frozen: Sequence[FrozenPart] = ("decoder",),
        image_size: int = 256,
        vit_width: int = 768,
        vit_depth: int = 12,
        vit_heads: int = 12,
        window_size: int = 14,
    ) -> None:
        super().__init__()
        self.architecture = Architecture(
            cnn=cnn,
            vit=vit,
            fusion=fusion,
            med_token=med_token,
            multi_scale=multi_scale,
            frozen=frozen,
            image_size=image_size,
            vit_width=vit_width,
            vit_depth=vit_depth,
            vit_heads=vit_heads,
            window_size=window_size,
        )
        self.input_spec = InputSpec(
            size=image_size,
            prompts=frozenset({"boxes", "points", "masks"}),
            mask_size=self.architecture.mask_size,
            fit=self.image_fit,
        )
        # Not part of the state: they are constants of SAM, not weights.
        self.register_buffer("pixel_mean", _per_channel(PIXEL_MEAN), persistent=False)
        self.register_buffer("pixel_std", _per_channel(PIXEL_STD), persistent=False)
        self.image_encoder = DualBranchEncoder(self.architecture)
        self.prompt_encoder = BatchedPromptEncoder(self.architecture)
        self.mask_decoder = MedTokenDecoder() if med_token else SAMTokenDecoder()
        self._initialise()
        self.freeze(self._frozen_parts())

    def _initialise(self) -> None:
        if self.image_encoder.vit is not None:
            initialise_vit(self.image_encoder.vit)
        initialise_decoder(self.mask_decoder)
        for part in (
            self.image_encoder.adapters,
            self.image_encoder.bridges,
            self.image_encoder.embedding_encoder,
            getattr(self.mask_decoder, "mask_features", None),
        ):
            if part is not None:
                initialise_convolutions(part)

    def _frozen_parts(self) -> list[str]:
        names = []
        if self.architecture.vit == "frozen":
            names += ["image_encoder.vit", "image_encoder.neck"]
        if "cnn" in self.architecture.frozen:
            names += ["image_encoder.cnn"]
        if "prompt_encoder" in self.architecture.frozen:
            names += ["prompt_encoder"]
        # What is never computed never gets a gradient, which DistributedDataParallel would await.
        is_frozen = "decoder" in self.architecture.frozen
        parts = self.mask_decoder.sam_parts if is_frozen else self.mask_decoder.unused_parts
        return names + [f"mask_decoder.{part}" for part in parts]

    def encode(self, images: Tensor, sizes: Tensor | None = None) -> ImageFeatures:
        """See :meth:`PromptableModel.encode`.

        Raises:
            ValueError: the images are not ``(B, 3, S, S)``, or ``sizes`` is not ``(B, 2)``.
        """
        side = self.input_spec.size
        if images.ndim != 4 or images.shape[1:] != (3, side, side):
            raise ValueError(
                f"images must be (B, 3, {side}, {side}), resized and padded to the model's "
                f"image_size of {side}; got {tuple(images.shape)}"
            )
        if sizes is not None and sizes.shape != (images.shape[0], 2):
            raise ValueError(
                f"sizes must be ({images.shape[0]}, 2), height and width of each image; "
                f"got {tuple(sizes.shape)}"
            )
        return cast(ImageFeatures, self.image_encoder(self._normalise(images, sizes)))

    def _normalise(self, images: Tensor, sizes: Tensor | None) -> Tensor:
        images = (images.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        if sizes is None:
            return images
        pixels = torch.arange(images.shape[-1], device=images.device)
        heights, widths = sizes.to(images.device).unsqueeze(-1).unbind(1)
        inside = (pixels < heights).unsqueeze(2) & (pixels < widths).unsqueeze(1)
        return images.masked_fill(~inside.unsqueeze(1), 0.0)

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        """See :meth:`PromptableModel.decode`.

        Raises:
            UnsupportedPromptError: there is no prompt.
            ValueError: the previous masks are not ``(N, S/4, S/4)``.
        """
        self.check_prompts(prompts)
        sparse, dense = self.prompt_encoder.encode(prompts)
        return cast(
            Tensor,
            self.mask_decoder(
                features,
                prompts.image_index,
                sparse,
                dense,
                self.prompt_encoder.dense_positions(),
            ),
        )


def _per_channel(values: tuple[float, float, float]) -> Tensor:
    return torch.tensor(values).reshape(3, 1, 1)
