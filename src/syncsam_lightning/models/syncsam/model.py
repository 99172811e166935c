"""SyncSAM as a :class:`PromptableModel`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor

from syncsam_lightning.errors import CompileError
from syncsam_lightning.models.normalisation import SAMNormalisation
from syncsam_lightning.models.promptable import ImageFeatures, InputSpec, PromptableModel
from syncsam_lightning.models.recompute import recomputed
from syncsam_lightning.models.syncsam.architecture import (
    Architecture,
    CNNName,
    FrozenPart,
    Fusion,
    RecomputedPart,
    ViTMode,
)
from syncsam_lightning.models.syncsam.decoder import MedTokenDecoder, SAMTokenDecoder
from syncsam_lightning.models.syncsam.encoder import DualBranchEncoder
from syncsam_lightning.models.syncsam.initialisation import (
    initialise_convolutions,
    initialise_decoder,
    initialise_vit,
)
from syncsam_lightning.models.syncsam.layouts import LAYOUTS
from syncsam_lightning.models.syncsam.prompt_encoder import BatchedPromptEncoder
from syncsam_lightning.prompts import Prompts


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
        recompute: parts that keep less for the backward pass and compute it again then, with the
            same numbers: ``"vit"``, ``"cnn"``, ``"decoder"``. What each saves and costs stands in
            docs/speed.md.

    Raises:
        ValueError: a value is unknown, or two arguments make each other meaningless.
    """

    layouts = LAYOUTS
    begins_with_sam = True

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
        recompute: Sequence[RecomputedPart] = (),
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
            recompute=recompute,
        )
        self.input_spec = InputSpec(
            size=image_size,
            prompts=frozenset({"boxes", "points", "masks"}),
            mask_size=self.architecture.mask_size,
            fit=self.image_fit,
        )
        self.normalise = SAMNormalisation(image_size, self.image_fit)
        self.image_encoder = DualBranchEncoder(self.architecture)
        self.prompt_encoder = BatchedPromptEncoder(image_size)
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

    def compile_parts(self, **options: Any) -> None:
        """See :meth:`PromptableModel.compile_parts`.

        Raises:
            CompileError: the CNN is recomputed.
        """
        if "cnn" in self.architecture.recompute:
            raise CompileError(
                "recompute names 'cnn', whose BatchNorm can't be recomputed inside torch.compile: "
                "take 'cnn' out of recompute, or do without compiling"
            )
        super().compile_parts(**options)

    def encode(self, images: Tensor, sizes: Tensor | None = None) -> ImageFeatures:
        """See :meth:`PromptableModel.encode`."""
        self.check_images(images, sizes)
        return cast(ImageFeatures, self.image_encoder(self.normalise(images, sizes)))

    @property
    def imagenet_part(self) -> str | None:
        """See :attr:`PromptableModel.imagenet_part`."""
        return "image_encoder.cnn" if self.architecture.has_cnn else None

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        """See :meth:`PromptableModel.decode`.

        Raises:
            UnsupportedPromptError: there is no prompt.
            ValueError: the previous masks are not ``(N, S/4, S/4)``.
        """
        self.check_prompts(prompts)
        sparse, dense = self.prompt_encoder.encode(prompts)
        positions = self.prompt_encoder.dense_positions()
        arguments = (features, prompts.image_index, sparse, dense, positions)
        if "decoder" in self.architecture.recompute:
            return cast(Tensor, recomputed(self.mask_decoder, *arguments))
        return cast(Tensor, self.mask_decoder(*arguments))
