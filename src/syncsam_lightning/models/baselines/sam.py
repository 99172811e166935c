"""SAM with a ViT-B, and SAM with its mask decoder fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from syncsam_lightning.models.baselines.sam_decoder import (
    BatchedMaskDecoder,
    MaskCandidates,
    is_ambiguous,
)
from syncsam_lightning.models.baselines.sam_encoder import SAMImageEncoder
from syncsam_lightning.models.layout import Layout
from syncsam_lightning.models.normalisation import SAMNormalisation
from syncsam_lightning.models.promptable import (
    Feedback,
    ImageFeatures,
    InputSpec,
    PromptableModel,
    ScoredMasks,
)
from syncsam_lightning.models.syncsam.architecture import EMBED_DIM
from syncsam_lightning.models.syncsam.initialisation import initialise_decoder, initialise_vit
from syncsam_lightning.models.syncsam.prompt_encoder import BatchedPromptEncoder
from syncsam_lightning.models.vit import ViTShape
from syncsam_lightning.prompts import Prompts

Multimask = Literal["ambiguous", "always", "never"]
"""When the best of SAM's three masks by predicted IoU is taken rather than the one for unambiguous
prompts: ``"ambiguous"``, for one click or one box alone (SAM's own advice); ``"always"``
(SAM-Med2D, IMIS-Net); ``"never"`` (MedSAM)."""
SAMPart = Literal["image_encoder", "prompt_encoder", "mask_decoder"]

META = Layout(
    name="sam",
    description="SAM ViT-B and what is fine-tuned from it under its names (image_encoder.blocks.*)",
    signature=("image_encoder.blocks.", "image_encoder.patch_embed."),
)


class SAM(PromptableModel):
    """Segment anything (Kirillov et al., ICCV 2023), ViT-B; tensors have the names of Meta's file.

    Weights start random; see :func:`syncsam_lightning.models.load_weights`.

    Args:
        image_size: side S of the square input in pixels, a multiple of 16. Meta's weights are made
            for 1024; tables of positions are interpolated to another size.
        multimask: which of SAM's masks is the answer, see :data:`Multimask`.
        frozen: parts that are not trained.
        vit_width: channels of the tokens.
        vit_depth: number of blocks, a multiple of 4; the last of each quarter is global.
        vit_heads: attention heads of each block.
        window_size: side of the windows of the other blocks, in tokens.

    Raises:
        ValueError: a value is unknown or out of range.
    """

    layouts = (META,)
    begins_with_sam = True
    feedback: ClassVar[Feedback] = "logits"
    """How it expects its own answers back."""
    prompt_kinds = frozenset({"boxes", "points", "masks"})
    """The kinds of prompts that it takes."""

    def __init__(
        self,
        *,
        image_size: int = 1024,
        multimask: Multimask = "ambiguous",
        frozen: Sequence[SAMPart] = (),
        vit_width: int = 768,
        vit_depth: int = 12,
        vit_heads: int = 12,
        window_size: int = 14,
    ) -> None:
        super().__init__()
        check_choices("multimask", [multimask], Multimask)
        check_choices("frozen", frozen, SAMPart)
        shape = ViTShape(
            image_size=image_size,
            vit_width=vit_width,
            vit_depth=vit_depth,
            vit_heads=vit_heads,
            window_size=window_size,
        )
        self.multimask = multimask
        self.input_spec = InputSpec(
            size=image_size,
            prompts=self.prompt_kinds,
            mask_size=image_size // 4,
            fit=self.image_fit,
            feedback=self.feedback,
        )
        self.normalise = self._build_normalisation()
        self.image_encoder = SAMImageEncoder(shape)
        self.prompt_encoder = BatchedPromptEncoder(image_size)
        self.mask_decoder = BatchedMaskDecoder(EMBED_DIM)
        initialise_vit(self.image_encoder)
        initialise_decoder(self.mask_decoder)
        self.freeze(frozen)
        # What no answer depends on has nothing to learn, and DistributedDataParallel would wait
        # for its gradient.
        self.freeze(f"mask_decoder.{part}" for part in self._idle_parts())

    def _idle_parts(self) -> Sequence[str]:
        idle: dict[Multimask, Sequence[str]] = {
            "ambiguous": (),
            "always": self.mask_decoder.only_for_unambiguous,
            "never": self.mask_decoder.only_for_ambiguous,
        }
        return idle[self.multimask]

    def _build_normalisation(self) -> nn.Module:
        """Return what scales images ``(B, 3, S, S)`` in 0..255, given their sizes."""
        return SAMNormalisation(self.input_spec.size, self.image_fit)

    def encode(self, images: Tensor, sizes: Tensor | None = None) -> ImageFeatures:
        """See :meth:`PromptableModel.encode`."""
        self.check_images(images, sizes)
        return ImageFeatures(self.image_encoder(self.normalise(images, sizes)))

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        """See :meth:`PromptableModel.decode`.

        Raises:
            UnsupportedPromptError: there is no prompt, or one of a kind that it doesn't take.
            ValueError: the previous masks are not ``(N, S/4, S/4)``.
        """
        return self.decode_scored(features, prompts).tied_logits()

    def decode_scored(self, features: ImageFeatures, prompts: Prompts) -> ScoredMasks:
        """See :meth:`PromptableModel.decode_scored`; with ``multimask="never"`` unscored.

        Raises:
            UnsupportedPromptError: as :meth:`decode`.
            ValueError: as :meth:`decode`.
        """
        self.check_prompts(prompts)
        if self.multimask == "never":
            inputs = self._decoder_inputs(features, prompts)
            return ScoredMasks(self.mask_decoder.single(*inputs))
        ambiguous = is_ambiguous(prompts)
        if self.multimask == "always":
            ambiguous = torch.ones_like(ambiguous)
        return self.candidates(features, prompts).best(ambiguous)

    def candidates(self, features: ImageFeatures, prompts: Prompts) -> MaskCandidates:
        """Return all four masks of each object, and what SAM expects them to score.

        Raises:
            UnsupportedPromptError: as :meth:`decode`.
            ValueError: as :meth:`decode`.
        """
        self.check_prompts(prompts)
        candidates: MaskCandidates = self.mask_decoder(*self._decoder_inputs(features, prompts))
        return candidates

    def _decoder_inputs(self, features: ImageFeatures, prompts: Prompts) -> tuple[Tensor, ...]:
        sparse, dense = self.prompt_encoder.encode(prompts)
        positions = self.prompt_encoder.dense_positions()
        return features.embedding, prompts.image_index, sparse, dense, positions


class FTSAM(SAM):
    """FT-SAM: SAM of which nothing but the mask decoder is trained (paper, table 5, row 2).

    It gives one mask per prompt, as the systems do that it stands beside.

    Args:
        image_size: see :class:`SAM`; 256 is the size of all trained models in the paper.
        vit_width: see :class:`SAM`.
        vit_depth: see :class:`SAM`.
        vit_heads: see :class:`SAM`.
        window_size: see :class:`SAM`.

    Raises:
        ValueError: a value is out of range.
    """

    def __init__(
        self,
        *,
        image_size: int = 256,
        vit_width: int = 768,
        vit_depth: int = 12,
        vit_heads: int = 12,
        window_size: int = 14,
    ) -> None:
        super().__init__(
            image_size=image_size,
            multimask="never",
            frozen=("image_encoder", "prompt_encoder"),
            vit_width=vit_width,
            vit_depth=vit_depth,
            vit_heads=vit_heads,
            window_size=window_size,
        )


def check_choices(name: str, values: Sequence[str], choices: Any) -> None:
    """Raise ``ValueError`` unless every one of an argument's values is known.

    Args:
        name: of the argument.
        values: that it was given.
        choices: a ``Literal`` of those that are known.
    """
    if isinstance(values, str):
        raise ValueError(f"{name} must be a list of parts, got the text {values!r}")
    known = get_args(choices)
    for value in values:
        if value not in known:
            raise ValueError(f"{name}: unknown value {value!r}; choose from {', '.join(known)}")
