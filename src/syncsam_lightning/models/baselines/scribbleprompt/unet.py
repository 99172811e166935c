"""ScribblePrompt-UNet: image, prompts and previous answer as the five channels of a U-Net.

Source: Wong et al., "ScribblePrompt: Fast and Flexible Interactive Segmentation for Any Biomedical
Image" (ECCV 2024), section 3, and the names and shapes of its official weights.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncsam_lightning.models.baselines.scribbleprompt.channels import (
    NUM_PROMPT_CHANNELS,
    prompt_channels,
)
from syncsam_lightning.models.baselines.scribbleprompt.grey import grey_levels
from syncsam_lightning.models.layout import Layout
from syncsam_lightning.models.parts import decode_in_parts
from syncsam_lightning.models.promptable import ImageFeatures, InputSpec, PromptableModel
from syncsam_lightning.prompts import Prompts

# Decoding an object at 128 pixels takes about 70 MB for the moment.
_PIXELS_AT_ONCE = 32 * 128**2

OFFICIAL = Layout(
    name="scribbleprompt",
    description="ScribblePrompt-UNet (downs.*, bottleneck.*, ups.*, final_conv.*)",
    signature=("downs.", "bottleneck.", "ups.", "final_conv."),
)


class ScribblePromptUNet(PromptableModel):
    """ScribblePrompt-UNet; its tensors have the names of the official file.

    The image is stretched to the square, turned into grey and its range stretched to [0, 1]. There
    is no encoder: the features are that image, and every round runs the whole network. Answers
    and previous answers have the side of the input.

    Args:
        image_size: side S of the square input in pixels; the official weights were trained at 128.
        width: channels of every layer.
        depth: how often the image is halved.

    Raises:
        ValueError: ``width`` or ``depth`` is less than 1, or ``image_size`` can't be halved
            ``depth`` times.
    """

    image_fit = "stretch"
    layouts = (OFFICIAL,)

    def __init__(self, *, image_size: int = 128, width: int = 192, depth: int = 4) -> None:
        super().__init__()
        if width < 1 or depth < 1:
            raise ValueError(
                f"width and depth must be at least 1, got width={width} and depth={depth}"
            )
        if depth >= image_size.bit_length():
            raise ValueError(f"image_size={image_size} can't be halved depth={depth} times")
        if image_size < 1 or image_size % 2**depth:
            raise ValueError(
                f"image_size={image_size} can't be halved depth={depth} times: use a multiple of "
                f"{2**depth}"
            )
        self.input_spec = InputSpec(
            size=image_size,
            prompts=frozenset({"boxes", "points", "masks"}),
            mask_size=image_size,
            fit=self.image_fit,
        )
        channels = [1 + NUM_PROMPT_CHANNELS] + [width] * (depth - 1)
        self.downs = nn.ModuleList(ConvBlock(before, width) for before in channels)
        self.bottleneck = ConvBlock(width, width)
        self.ups = nn.ModuleList()
        for _ in range(depth):
            self.ups.append(nn.UpsamplingBilinear2d(scale_factor=2))
            self.ups.append(ConvBlock(2 * width, width))
        self.final_conv = FinalConvolution(width)

    def encode(self, images: Tensor, sizes: Tensor | None = None) -> ImageFeatures:
        """See :meth:`PromptableModel.encode`.

        Returns:
            The image itself as ``embedding``: ``(B, 1, S, S)`` grey in [0, 1].
        """
        self.check_images(images, sizes)
        return ImageFeatures(grey_levels(images))

    def decode(self, features: ImageFeatures, prompts: Prompts) -> Tensor:
        """See :meth:`PromptableModel.decode`.

        Without gradients the objects are decoded a few at a time, since each needs much memory.

        Returns:
            ``(N, S, S)`` float mask logits.

        Raises:
            UnsupportedPromptError: there is no prompt.
            ValueError: the previous masks are not ``(N, S, S)``.
        """
        self.check_prompts(prompts)
        return decode_in_parts(
            lambda part: self._segment(features.embedding, part),
            prompts,
            at_once=max(1, _PIXELS_AT_ONCE // self.input_spec.size**2),
        )

    def _segment(self, images: Tensor, prompts: Prompts) -> Tensor:
        """Return logits ``(N, S, S)`` for grey images ``(B, 1, S, S)``."""
        drawn = prompt_channels(prompts, self.input_spec.size)
        x = torch.cat([images[prompts.image_index], drawn], dim=1)
        x = x.to(next(self.parameters()).dtype)
        skipped = []
        for down in self.downs:
            x = down(x)
            skipped.append(x)
            x = F.max_pool2d(x, 2)
        x = self.bottleneck(x)
        for upsample, convolve in zip(self.ups[::2], self.ups[1::2], strict=True):
            x = convolve(torch.cat([skipped.pop(), upsample(x)], dim=1))
        return cast(Tensor, self.final_conv(x)).squeeze(1)


class ConvBlock(nn.Module):
    """A 3×3 convolution and a PReLU with one slope; no normalisation."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.PReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Turn ``(N, channels, h, w)`` into ``(N, width, h, w)``."""
        return cast(Tensor, self.conv(x))


class FinalConvolution(nn.Module):
    """A 1×1 convolution to the logits, named as in the official weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Turn ``(N, width, h, w)`` into ``(N, 1, h, w)``."""
        return cast(Tensor, self.conv(x))
