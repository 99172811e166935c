"""The small trained networks between the branches, and from the branches to the decoder."""

from __future__ import annotations

from torch import nn

from syncsam_lightning.models.syncsam.architecture import EMBED_DIM, MASK_DIM
from syncsam_lightning.models.syncsam.norm import LayerNorm2d
from syncsam_lightning.models.vit import PATCH_SIZE


def stage_adapter(channels: int, stride: int, width: int) -> nn.Sequential:
    """Bring a CNN map ``(B, channels, S/stride, S/stride)`` to ``(B, width, S/16, S/16)``.

    Each halving of the side doubles the channels, a doubling halves them; a 1×1 convolution then
    reaches the ViT's width.

    Args:
        channels: of the CNN map.
        stride: of the CNN map: 4, 8, 16 or 32.
        width: of the ViT's tokens.
    """
    layers: list[nn.Module] = []
    while stride < PATCH_SIZE:
        layers += [nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)]
        channels, stride = 2 * channels, 2 * stride
        layers += [LayerNorm2d(channels), nn.GELU()]
    while stride > PATCH_SIZE:
        layers += [nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)]
        channels, stride = channels // 2, stride // 2
        layers += [LayerNorm2d(channels), nn.GELU()]
    return nn.Sequential(*layers, nn.Conv2d(channels, width, 1))


def bridge(width: int) -> nn.Sequential:
    """Bring the output of a ViT stage, ``(B, width, S/16, S/16)``, to ``(B, 32, S/4, S/4)``."""
    return _upscale_by_four(width, EMBED_DIM)


def embedding_encoder() -> nn.Sequential:
    """Bring the image embedding, ``(B, 256, S/16, S/16)``, to ``(B, 32, S/4, S/4)``."""
    return _upscale_by_four(EMBED_DIM, EMBED_DIM // 4)


def _upscale_by_four(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(channels, hidden, 2, stride=2),
        LayerNorm2d(hidden),
        nn.GELU(),
        nn.ConvTranspose2d(hidden, MASK_DIM, 2, stride=2),
    )
