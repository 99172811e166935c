"""ScribblePrompt-SAM: SAM, fine-tuned on grey images with ScribblePrompt's interactions."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from syncsam_lightning.models.baselines.sam import SAM, SAMPart
from syncsam_lightning.models.baselines.scribbleprompt.grey import grey_levels
from syncsam_lightning.models.normalisation import SAMNormalisation


class ScribblePromptSAM(SAM):
    """ScribblePrompt-SAM (Wong et al., ECCV 2024); tensors have the names of Meta's SAM ViT-B.

    The image is stretched to the square, turned into grey, its range stretched to 0..255, and
    normalised as SAM does. The answer is always the best of SAM's three masks by predicted IoU. A
    scribble is given as points, one for each of its pixels.

    Args:
        image_size: side S of the square input in pixels, a multiple of 16. Published: 1024, from
            images of 128 pixels.
        frozen: parts that are not trained, see :class:`SAM`.
        vit_width: see :class:`SAM`.
        vit_depth: see :class:`SAM`.
        vit_heads: see :class:`SAM`.
        window_size: see :class:`SAM`.

    Raises:
        ValueError: a value is unknown or out of range.
    """

    image_fit = "stretch"

    def __init__(
        self,
        *,
        image_size: int = 1024,
        frozen: Sequence[SAMPart] = ("image_encoder", "prompt_encoder"),
        vit_width: int = 768,
        vit_depth: int = 12,
        vit_heads: int = 12,
        window_size: int = 14,
    ) -> None:
        super().__init__(
            image_size=image_size,
            multimask="always",
            frozen=frozen,
            vit_width=vit_width,
            vit_depth=vit_depth,
            vit_heads=vit_heads,
            window_size=window_size,
        )

    def _build_normalisation(self) -> nn.Module:
        return GreyNormalisation(self.input_spec.size)


class GreyNormalisation(nn.Module):
    """SAM's normalisation of an image's grey levels in all three channels.

    Args:
        side: S of the model's square in pixels.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.as_sam = SAMNormalisation(side, "stretch")

    def forward(self, images: Tensor, sizes: Tensor | None = None) -> Tensor:
        """Normalise images.

        Args:
            images: ``(B, 3, S, S)`` RGB in 0..255 that fill their squares.
            sizes: not needed, since nothing is padded.

        Returns:
            ``(B, 3, S, S)``.
        """
        normalised: Tensor = self.as_sam(255 * grey_levels(images).expand(-1, 3, -1, -1))
        return normalised
